/** One contestant's N × N grid of access kinds, coloured by outcome, as SVG. */

import type { CellResult, LabResults, ScenarioFacts } from '../results.ts';
import { duration, element, label, tooltip } from './html.ts';
import { type CellIndex, verdictOf } from './summary.ts';

const CELL = 27;
const GAP = 2;
const LEFT = 84;
const TOP = 78;

export function natGrid(results: LabResults, index: CellIndex, contestant: string): string {
  const kinds = results.accesses.filter(({ name }) =>
    results.scenarios.some((scenario) => scenario.cell?.row === name),
  );
  const columns = results.accesses.filter(({ name }) =>
    results.scenarios.some((scenario) => scenario.cell?.column === name),
  );
  const scenarioOf = (row: string, column: string) =>
    results.scenarios.find((scenario) => scenario.cell?.row === row && scenario.cell.column === column);
  const parts: string[] = [];
  for (const [x, column] of columns.entries()) {
    const at = `translate(${LEFT + x * (CELL + GAP) + CELL / 2} ${TOP - 7}) rotate(-52)`;
    parts.push(label(column.label, { transform: at, class: 'axis' }));
  }
  for (const [y, row] of kinds.entries()) {
    const middle = TOP + y * (CELL + GAP) + CELL / 2 + 4;
    parts.push(label(row.label, { x: LEFT - 7, y: middle, 'text-anchor': 'end', class: 'axis' }));
    for (const [x, column] of columns.entries()) {
      const scenario = scenarioOf(row.name, column.name);
      if (scenario) parts.push(gridCell(LEFT + x * (CELL + GAP), TOP + y * (CELL + GAP), scenario, index, contestant));
    }
  }
  const [width, height] = [LEFT + columns.length * (CELL + GAP) + 22, TOP + kinds.length * (CELL + GAP)];
  return element('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', class: 'grid' }, parts.join(''));
}

function gridCell(x: number, y: number, scenario: ScenarioFacts, index: CellIndex, contestant: string): string {
  const cell = index.find(contestant, scenario.name);
  const verdict = cell ? verdictOf(cell) : 'none';
  const square = element('rect', { x, y, width: CELL, height: CELL, rx: 4, class: `v-${verdict}` });
  const text =
    cell?.connectMs === undefined
      ? ''
      : label(seconds(cell.connectMs), { x: x + CELL / 2, y: y + CELL / 2 + 3.5, class: 'cell' });
  return element('g', {}, square + text + tooltip(describe(scenario, cell)));
}

function seconds(ms: number): string {
  return ms < 10_000 ? (ms / 1000).toFixed(1) : Math.round(ms / 1000).toFixed(0);
}

function describe(scenario: ScenarioFacts, cell: CellResult | undefined): string {
  const head = `${scenario.cell?.row} → ${scenario.cell?.column}`;
  if (!cell) return `${head}: not run`;
  if (cell.outcome !== 'connected') return `${head}: ${cell.outcome}: ${cell.reason ?? 'no reason given'}`;
  return [
    `${head}: ${cell.path?.type ?? ''} ${cell.path?.protocol ?? ''} (${cell.path?.detail ?? ''})`,
    `connected in ${duration(cell.connectMs ?? 0)}, ${cell.connectPackets ?? '?'} packets`,
    cell.roundTrip ? `round trip ${duration(cell.roundTrip.p50Ms)}` : '',
  ]
    .filter((line) => line !== '')
    .join('\n');
}
