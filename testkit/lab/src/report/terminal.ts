/** The results of a run as lines of text. */

import type { CellResult, LabResults, WatchResult } from '../results.ts';
import { duration, short } from './html.ts';
import { CellIndex, recovered, summarizeNat, verdictOf } from './summary.ts';

/** One line as soon as a cell is done. */
export function cellLine(cell: CellResult): string {
  const head = `${cell.scenario.padEnd(34)} ${cell.contestant.padEnd(17)}`;
  if (cell.outcome !== 'connected') return `${head} ${cell.outcome}: ${firstLine(cell.reason ?? 'no reason given')}`;
  const facts = [`${(cell.path?.type ?? '').padEnd(7)} in ${duration(cell.connectMs ?? 0)}`];
  if (cell.connectPackets !== undefined) facts.push(`${cell.connectPackets} packets`);
  if (cell.roundTrip) facts.push(`round trip ${duration(cell.roundTrip.p50Ms)}`);
  if (cell.bulk) facts.push(`${short(cell.bulk.megabitsPerSecond)} Mbit/s`, `stall ${duration(cell.bulk.stallMs)}`);
  if (cell.watch) facts.push(silence(cell.watch));
  if (cell.reason !== undefined) facts.push(`then: ${firstLine(cell.reason)}`);
  return `${head} ${facts.join(', ')}`;
}

export function renderTables(results: LabResults): string {
  const index = new CellIndex(results);
  const names = results.contestants.map(({ name }) => name);
  const groups = Map.groupBy(results.scenarios, (scenario) => scenario.group);
  const parts: string[] = [];
  const nat = groups.get('nat') ?? [];
  if (nat.length > 0) {
    const rows = names.map((name) => {
      const { counts, connectMs, packets } = summarizeNat(nat.map((scenario) => index.find(name, scenario.name)));
      return [
        name,
        ...[counts.direct, counts.proxied, counts.relayed, counts.failed, counts.skipped].map(String),
        Number.isNaN(connectMs) ? '–' : duration(connectMs),
        Number.isNaN(packets) ? '–' : String(packets),
      ];
    });
    const head = ['NAT pairs', 'direct', 'proxied', 'relayed', 'failed', 'skipped', 'time to connect', 'packets'];
    parts.push(table([head, ...rows]));
  }
  for (const group of ['ladder', 'switch', 'faults'] as const) {
    const scenarios = groups.get(group) ?? [];
    if (scenarios.length === 0) continue;
    const head = [group, ...scenarios.map(({ name }) => name.split('/').at(-1) ?? name)];
    const rows = names.map((name) => [
      name,
      ...scenarios.map((scenario) => shortCell(index.find(name, scenario.name))),
    ]);
    parts.push(table([head, ...rows]));
  }
  return parts.join('\n\n');
}

function shortCell(cell: CellResult | undefined): string {
  if (!cell) return '–';
  if (cell.outcome !== 'connected') return cell.outcome;
  if (cell.bulk) return `${short(cell.bulk.megabitsPerSecond)} Mbit/s`;
  if (cell.watch) return recovered(cell.watch) ? duration(cell.watch.longestGapMs) : 'lost';
  return verdictOf(cell);
}

/** Columns aligned, the first to the left. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  '),
  );
  return [lines[0], widths.map((width) => '-'.repeat(width)).join('  '), ...lines.slice(1)].join('\n');
}

function silence(watch: WatchResult): string {
  return recovered(watch)
    ? `longest silence ${duration(watch.longestGapMs)}`
    : `silent from ${duration(lastSignMs(watch))} on`;
}

function lastSignMs({ delay, bucketMs }: WatchResult): number {
  return (delay.findLastIndex((value) => value !== null) + 1) * bucketMs;
}

const firstLine = (text: string) => text.split('\n')[0] ?? '';
