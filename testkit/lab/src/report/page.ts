/** A run of the lab as one self-contained HTML page: no script, no request, nothing to install. */

import type { CellResult, LabResults, ScenarioFacts } from '../results.ts';
import { chart, type Series } from './chart.ts';
import { duration, element, escape, short } from './html.ts';
import { natGrid } from './nat-grid.ts';
import { PALETTE, STYLE } from './style.ts';
import { CellIndex, countVerdicts, recovered, summarizeNat, VERDICTS, verdictOf } from './summary.ts';

/** The contestant that the page puts first and marks. */
const OURS = 'claw';

export function renderPage(results: LabResults): string {
  const page = new Page(results);
  const body = [page.head(), page.overview(), page.grids(), page.ladder(), page.changes(), page.reasons()].join('\n');
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>The network laboratory</title><style>${STYLE}</style></head>
<body><main>${body}</main></body>
</html>
`;
}

class Page {
  readonly #results: LabResults;
  readonly #index: CellIndex;
  readonly #names: readonly string[];

  constructor(results: LabResults) {
    this.#results = results;
    this.#index = new CellIndex(results);
    this.#names = results.contestants.map(({ name }) => name).toSorted((one, other) => rank(one) - rank(other));
  }

  head(): string {
    const { date, seed, repeat, machine, commit } = this.#results;
    const facts = `${date.slice(0, 16).replace('T', ' ')} UTC · seed ${seed} · ${repeat} ${repeat === 1 ? 'round' : 'rounds'} · ${machine.cores} cores, Linux ${machine.kernel}, Node ${machine.node} · commit ${commit}`;
    return `<h1>The network laboratory</h1>
<p>Every contestant joins the same two machines, over the same networks, with real packets: network namespaces, the kernel's NAT and coturn; what the kernel cannot do is done in user space. Signals between the two peers travel outside of the network under test.</p>
<p class="facts">${escape(facts)}</p>`;
  }

  overview(): string {
    const nat = this.#group('nat');
    const ladder = this.#group('ladder');
    const rows = this.#names.map((name) => {
      const facts = this.#results.contestants.find((contestant) => contestant.name === name);
      const found = nat.map((scenario) => this.#index.find(name, scenario.name));
      const { cells, counts, connectMs, packets } = summarizeNat(found);
      const through = counts.direct + counts.proxied + counts.relayed;
      const rungs = ladder.filter((scenario) => this.#index.find(name, scenario.name)?.bulk).length;
      const bar = VERDICTS.filter((verdict) => counts[verdict] > 0)
        .map(
          (verdict) =>
            `<b class="${verdict}" style="flex:${counts[verdict]}" title="${counts[verdict]} ${verdict}"></b>`,
        )
        .join('');
      return `<tr><td>${this.#dot(name)}${escape(name)}<small>${escape(facts?.version ?? '')}</small></td>
<td>${cells > 0 ? `<div class="bar">${bar}</div>` : '–'}</td><td>${cells > 0 ? `${through} of ${cells}<small>${counts.direct} direct</small>` : '–'}</td>
<td>${Number.isNaN(connectMs) ? '–' : duration(connectMs)}</td><td>${Number.isNaN(packets) ? '–' : packets}</td><td>${ladder.length > 0 ? `${rungs} of ${ladder.length}` : '–'}</td><td class="text">${escape(facts?.about ?? '')}</td></tr>`;
    });
    return `<h2>Contestants</h2><div class="card scroll"><table><thead><tr><th></th><th>NAT pairs</th><th>joined</th><th>time to connect, median</th><th>packets, median</th><th>rungs held</th><th></th></tr></thead><tbody>${rows.join('')}</tbody></table></div>`;
  }

  grids(): string {
    const nat = this.#group('nat');
    if (nat.length === 0) return '';
    const legend = VERDICTS.map((verdict) => `<span><i class="${verdict}"></i>${verdict}</span>`).join('');
    const cards = this.#names.map((name) => {
      const counts = countVerdicts(nat.map((scenario) => this.#index.find(name, scenario.name)));
      const score = `${counts.direct} direct · ${counts.relayed + counts.proxied} relayed · ${counts.failed} failed`;
      return `<section class="card${name === OURS ? ' ours' : ''}"><header><h3>${escape(name)}</h3><span>${score}</span></header>${natGrid(this.#results, this.#index, name)}</section>`;
    });
    return `<h2>Who gets through</h2><p>Rows are the access of a, which begins; columns that of b. The number is the time to connect in seconds. Point at a cell for its path, packets and round trip, or for the reason it failed.</p><div class="legend">${legend}</div><div class="cards">${cards.join('\n')}</div>`;
  }

  ladder(): string {
    const rungs = this.#group('ladder');
    if (rungs.length === 0) return '';
    const head = rungs
      .map((scenario) => `<th title="${escape(scenario.about)}">${escape(lastOf(scenario.name))}</th>`)
      .join('');
    const best = rungs.map((scenario) =>
      Math.max(0, ...this.#names.map((name) => this.#index.find(name, scenario.name)?.bulk?.megabitsPerSecond ?? 0)),
    );
    const rows = this.#names.map((name) => {
      const cells = rungs.map((scenario, position) => {
        const cell = this.#index.find(name, scenario.name);
        if (!cell?.bulk) return missing(cell);
        const share = cell.bulk.megabitsPerSecond / (best[position] || 1);
        const heat = `background:color-mix(in srgb, var(--direct) ${Math.round(share * 62)}%, transparent)`;
        const cpu = cell.bulk.cpuSecondsPerGb === undefined ? '' : `, ${short(cell.bulk.cpuSecondsPerGb)} CPU s/GB`;
        const title = `stall ${duration(cell.bulk.stallMs)}, connected in ${duration(cell.connectMs ?? 0)}${cpu}`;
        return `<td class="heat" style="${heat}" title="${escape(title)}">${short(cell.bulk.megabitsPerSecond)}<small>${cell.roundTrip ? duration(cell.roundTrip.p50Ms) : '–'}</small></td>`;
      });
      return `<tr><td>${this.#dot(name)}${escape(name)}</td>${cells.join('')}</tr>`;
    });
    return `<h2>The ladder</h2><p>Nine links, each worse than the one before. Mbit/s of 16 KiB reliable messages from a to b, and below it the round trip of 64 bytes before the transfer began; the greener, the nearer to the best of the rung.</p>
<div class="card scroll"><table><thead><tr><th></th>${head}</tr></thead><tbody>${rows.join('')}</tbody></table></div><p></p>${this.#legend()}<div class="charts">${rungs.map((scenario) => this.#bulkCard(scenario)).join('\n')}</div>`;
  }

  changes(): string {
    const scenarios = [...this.#group('switch'), ...this.#group('faults')];
    if (scenarios.length === 0) return '';
    const head = scenarios
      .map(
        (scenario) =>
          `<th title="${escape(scenario.about)}">${escape(lastOf(scenario.name)).replaceAll('-', '<br>')}</th>`,
      )
      .join('');
    const rows = this.#names.map(
      (name) =>
        `<tr><td>${this.#dot(name)}${escape(name)}</td>${scenarios.map((scenario) => changeCell(this.#index.find(name, scenario.name))).join('')}</tr>`,
    );
    const charts = scenarios.map((scenario) =>
      this.#hasBulk(scenario) ? this.#bulkCard(scenario) : this.#watchCard(scenario),
    );
    return `<h2>When the network changes</h2><p>The longest silence in seconds while both sides send a small message every 50 ms, or the longest stall of a transfer; “lost” never came back. Below it how many messages arrived, or Mbit/s. Dashed lines mark what happened.</p>
<div class="card scroll"><table><thead><tr><th></th>${head}</tr></thead><tbody>${rows.join('')}</tbody></table></div><p></p>${this.#legend()}<div class="charts">${charts.join('\n')}</div>`;
  }

  reasons(): string {
    const lost = this.#results.cells.filter((cell) => cell.outcome !== 'connected');
    const groups = Map.groupBy(
      lost,
      (cell) => `${cell.contestant}\n${cell.outcome}\n${cell.reason ?? 'no reason given'}`,
    );
    const rows = [...groups.values()]
      .toSorted(
        (one, other) => rank(one[0]?.contestant ?? '') - rank(other[0]?.contestant ?? '') || other.length - one.length,
      )
      .map((cells) => {
        const [cell] = cells;
        const where = cells.map(({ scenario }) => scenario);
        const shown =
          where.length > 4 ? `${where.slice(0, 4).join(', ')} and ${where.length - 4} more` : where.join(', ');
        return `<tr><td>${escape(cell?.contestant ?? '')}</td><td>${cells.length}</td><td class="text">${escape(cell?.reason ?? 'no reason given')}</td><td class="text">${escape(shown)}</td></tr>`;
      });
    if (rows.length === 0) return '';
    return `<h2>What they said when they failed</h2><p>In their own words.</p><div class="card scroll"><table><thead><tr><th></th><th>cells</th><th style="text-align:left">reason</th><th style="text-align:left">where</th></tr></thead><tbody>${rows.join('')}</tbody></table></div>`;
  }

  #bulkCard(scenario: ScenarioFacts): string {
    const cells = this.#cellsOf(scenario).flatMap(({ name, cell }) => (cell.bulk ? [{ name, bulk: cell.bulk }] : []));
    const bucketMs = cells[0]?.bulk.bucketMs ?? 100;
    const series = (pick: (bulk: NonNullable<CellResult['bulk']>) => readonly (number | null)[]): Series[] =>
      cells.map(({ name, bulk }) => ({ name, colour: this.#colour(name), values: pick(bulk) }));
    const marks = scenario.marks;
    const charts =
      cells.length === 0
        ? '<p>Nobody got as far as a transfer.</p>'
        : chart({ title: 'Throughput', unit: 'Mbit/s', bucketMs, series: series((bulk) => smooth(bulk.rate)), marks }) +
          chart({
            title: 'One-way delay',
            unit: 'ms',
            bucketMs,
            series: series((bulk) => bulk.delay),
            marks,
            logarithmic: true,
          });
    return card(scenario, charts);
  }

  #watchCard(scenario: ScenarioFacts): string {
    const cells = this.#cellsOf(scenario).flatMap(({ name, cell }) =>
      cell.watch ? [{ name, watch: cell.watch }] : [],
    );
    if (cells.length === 0) return card(scenario, '<p>Nobody got as far as this.</p>');
    const series = cells.map(({ name, watch }) => ({ name, colour: this.#colour(name), values: watch.delay }));
    const { bucketMs = 100, durationMs = 0 } = cells[0]?.watch ?? {};
    return card(
      scenario,
      chart({
        title: 'One-way delay, a to b',
        unit: 'ms',
        bucketMs,
        durationMs,
        series,
        marks: scenario.marks,
        logarithmic: true,
      }),
    );
  }

  #legend(): string {
    return `<div class="legend">${this.#names.map((name) => `<span>${this.#dot(name)}${escape(name)}</span>`).join('')}</div>`;
  }

  #dot(name: string): string {
    return element('span', { class: `dot c${this.#colour(name)}` });
  }

  /** Ours keeps the first colour; the others theirs by their place. */
  #colour(name: string): number {
    if (name === OURS) return 0;
    return 1 + (this.#names.filter((other) => other !== OURS).indexOf(name) % (PALETTE.length - 1));
  }

  #group(group: ScenarioFacts['group']): ScenarioFacts[] {
    return this.#results.scenarios.filter((scenario) => scenario.group === group);
  }

  #cellsOf(scenario: ScenarioFacts) {
    return this.#names.flatMap((name) => {
      const cell = this.#index.find(name, scenario.name);
      return cell ? [{ name, cell }] : [];
    });
  }

  #hasBulk(scenario: ScenarioFacts): boolean {
    return this.#cellsOf(scenario).some(({ cell }) => cell.bulk);
  }
}

function card(scenario: ScenarioFacts, inner: string): string {
  return `<section class="card"><header><h3>${escape(lastOf(scenario.name))}</h3></header><p>${escape(scenario.about)}</p>${inner}</section>`;
}

function missing(cell: CellResult | undefined): string {
  if (!cell) return '<td class="no">–</td>';
  const text = cell.outcome === 'connected' ? 'broke off' : verdictOf(cell);
  return `<td class="no" title="${escape(cell.reason ?? '')}">${text}</td>`;
}

function changeCell(cell: CellResult | undefined): string {
  const gapMs = cell?.watch?.longestGapMs ?? cell?.bulk?.stallMs;
  if (!cell || gapMs === undefined) {
    return cell?.outcome === 'connected' && cell.reason === undefined
      ? `<td title="connected, ${escape(cell.path?.detail ?? '')}">${duration(cell.connectMs ?? 0)}<small>connected</small></td>`
      : missing(cell);
  }
  const lost = cell.watch !== undefined && !recovered(cell.watch);
  const colour = lost || gapMs >= 6000 ? 'var(--bad)' : gapMs < 1500 ? 'var(--direct)' : 'var(--relayed)';
  const below = cell.watch
    ? `${Math.round((100 * cell.watch.received) / Math.max(1, cell.watch.sent))} %`
    : `${short(cell.bulk?.megabitsPerSecond ?? 0)} Mbit/s`;
  return `<td class="heat" style="background:color-mix(in srgb, ${colour} 45%, transparent)" title="${escape(cell.reason ?? '')}">${lost ? 'lost' : short(gapMs / 1000)}<small>${below}</small></td>`;
}

/** Half a second's moving average: buckets of a bursty sender are hard to read. */
function smooth(values: readonly number[]): number[] {
  return values.map((_, index) => {
    const window = values.slice(Math.max(0, index - 2), index + 3);
    return window.reduce((sum, value) => sum + value, 0) / window.length;
  });
}

const lastOf = (name: string) => name.split('/').at(-1) ?? name;
const rank = (name: string) => (name === OURS ? -1 : 0);
