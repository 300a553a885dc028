import { loadScenarios, selectScenarios } from '@claw/scenarios';
import { describe, expect, it } from 'vitest';
import { parseLabOptions } from '../src/options.ts';
import { renderPage } from '../src/report/page.ts';
import { cellLine, renderTables } from '../src/report/terminal.ts';
import type { CellResult, LabResults } from '../src/results.ts';
import { breaches, CANARY } from '../src/run/canary.ts';
import { isLight, planCells } from '../src/run/plan.ts';

const all = loadScenarios();

function cell(change: Partial<CellResult>): CellResult {
  return { scenario: 'nat/none/none', contestant: 'claw', round: 0, seed: 1, outcome: 'connected', ...change };
}

function resultsOf(cells: readonly CellResult[]): LabResults {
  const names = [...new Set(cells.map(({ contestant }) => contestant))];
  return {
    format: 1,
    date: '2026-11-21T12:00:00.000Z',
    seed: 1,
    repeat: 1,
    machine: { kernel: '6.1', cores: 2, node: '24.0.0' },
    commit: 'abc',
    contestants: names.map((name) => ({ name, about: `it is <${name}>`, version: '1.0.0' })),
    scenarios: selectScenarios(all, [...new Set(cells.map(({ scenario }) => scenario))]).map((scenario) => ({
      name: scenario.name,
      group: scenario.group,
      about: scenario.about,
      ...(scenario.cell ? { cell: scenario.cell } : {}),
      marks: [{ atMs: 300, label: 'service-down' }],
    })),
    accesses: [{ name: 'none', label: 'none', about: 'open' }],
    cells,
  };
}

describe('the command line of the lab', () => {
  it('without arguments asks for the canary', () => {
    expect(parseLabOptions([])).toMatchObject({ mode: 'canary', seed: 1, repeat: 1, jobs: 4 });
  });

  it('takes what is chosen', () => {
    expect(
      parseLabOptions(['--scenario', 'nat', '--scenario', 'ladder', '--seed', '7', '--html', 'x.html']),
    ).toMatchObject({
      mode: 'chosen',
      scenarios: ['nat', 'ladder'],
      seed: 7,
      html: 'x.html',
    });
  });

  it.each([
    [['--sceanrio', 'nat']],
    [['nat']],
    [['--seed', '-1']],
    [['--seed', '1.5']],
    [['--repeat', '0']],
    [['--jobs', 'many']],
    [['--all', '--list']],
    [['--all', '--scenario', 'nat']],
    [['--json']],
  ])('refuses %j', (args) => {
    expect(() => parseLabOptions(args)).toThrow(expect.objectContaining({ code: 'LAB_USAGE' }));
  });
});

describe('a plan', () => {
  it('gives a cell the same seed every time, and each scenario and round its own', () => {
    const scenarios = selectScenarios(all, ['ladder']);
    const plan = planCells(scenarios, ['claw', 'tls'], { seed: 1, repeat: 2 });
    expect(plan).toHaveLength(36);
    expect(plan).toEqual(planCells(scenarios, ['claw', 'tls'], { seed: 1, repeat: 2 }));
    expect(new Set(plan.map(({ seed }) => seed)).size).toBe(18);
  });

  it('keeps cells that keep the machine busy apart', () => {
    const [light, heavy] = planCells(selectScenarios(all, ['nat/none/none', 'ladder/1-good-wifi']), ['claw'], {
      seed: 1,
      repeat: 1,
    });
    expect(light && isLight(light)).toBe(true);
    expect(heavy && isLight(heavy)).toBe(false);
    const transfers = planCells(
      selectScenarios(all, ['ladder/3-lte', 'ladder/4-busy-wifi', 'faults/black-hole', 'faults/bandwidth-step']),
      ['claw'],
      {
        seed: 1,
        repeat: 1,
      },
    );
    expect(transfers.map(isLight)).toEqual([true, false, false, false]);
  });
});

describe('the canary', () => {
  it('names scenarios that exist', () => {
    for (const { scenario } of CANARY) expect(selectScenarios(all, [scenario])).toHaveLength(1);
  });

  it('tells each cell that came to something else, and why', () => {
    const [first] = CANARY;
    const found = breaches([
      cell({
        scenario: first?.scenario ?? '',
        contestant: first?.contestant ?? '',
        outcome: 'failed',
        reason: 'no way',
      }),
    ]);
    expect(found[0]).toContain('found failed: no way');
    expect(found).toHaveLength(CANARY.length);
  });
});

describe('the page', () => {
  const bulk = { megabitsPerSecond: 12, stallMs: 30, bucketMs: 100, rate: [0, 8, 16], delay: [null, 20, 40] };
  const watch = { durationMs: 1200, longestGapMs: 900, sent: 100, received: 90, bucketMs: 100, delay: [20, null, 25] };
  const path = { type: 'direct', protocol: 'udp', detail: 'host → host' } as const;
  const results = resultsOf([
    cell({ path, connectMs: 300, connectPackets: 42 }),
    cell({ contestant: 'tls', outcome: 'failed', reason: '<script>alert("connect ETIMEDOUT")</script>' }),
    cell({ scenario: 'ladder/3-lte', path, connectMs: 300, bulk }),
    cell({ scenario: 'switch/sleep', path, connectMs: 300, watch }),
  ]);
  const page = renderPage(results);

  it('shows every group that was run, and lets no text of a contestant become markup', () => {
    for (const title of ['Contestants', 'Who gets through', 'The ladder', 'When the network changes']) {
      expect(page).toContain(title);
    }
    expect(page).not.toContain('<script');
    expect(page).toContain('&#60;script&#62;');
    expect(page).not.toMatch(/https?:\/\/(?!www\.w3\.org)/);
    expect(page).not.toMatch(/NaN|undefined|Infinity/);
  });

  it('leaves out what was not run', () => {
    expect(renderPage(resultsOf([cell({ path, connectMs: 10 })]))).not.toContain('The ladder');
  });

  it('tells a silence that ended from one that did not', () => {
    const lost = { ...watch, durationMs: 2500, delay: [20, 20, null] };
    const broken = resultsOf([cell({ scenario: 'switch/sleep', path, connectMs: 300, watch: lost })]);
    expect(renderPage(broken)).toContain('>lost<');
    expect(renderTables(broken)).toContain('lost');
    expect(cellLine(broken.cells[0] as CellResult)).toContain('silent from 200 ms on');
  });

  it('has its sister in the terminal', () => {
    expect(renderTables(results)).toContain('12 Mbit/s');
    expect(cellLine(results.cells[3] as CellResult)).toContain('longest silence 900 ms');
  });
});
