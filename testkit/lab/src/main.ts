/** `npm run lab`: the scoreboard. See `--help`. */

import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, release } from 'node:os';
import { dirname } from 'node:path';
import { errorText, isClawError } from '@claw/base';
import { loadAccesses, loadScenarios, type Scenario, selectScenarios } from '@claw/scenarios';
import { CONTESTANTS, contestantEntry } from './contestants/adapters/index.ts';
import { ensureContestants } from './contestants/install.ts';
import { labRunError } from './errors.ts';
import { type LabOptions, parseLabOptions, USAGE } from './options.ts';
import { renderPage } from './report/page.ts';
import { cellLine, renderTables, table } from './report/terminal.ts';
import { type LabResults, RESULTS_FORMAT } from './results.ts';
import { breaches, CANARY } from './run/canary.ts';
import { costMs, type PlannedCell, planCells } from './run/plan.ts';
import { runPlan } from './run/run-plan.ts';
import { runSelftest } from './selftest/run-selftest.ts';
import { canUseLab } from './world/can-use-lab.ts';

const EXIT = { ok: 0, breach: 1, usage: 2, unable: 3 } as const;

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  try {
    const options = parseLabOptions(args);
    if (options.mode === 'help') {
      console.log(USAGE);
      return EXIT.ok;
    }
    if (options.mode === 'list') {
      console.log(listing());
      return EXIT.ok;
    }
    const plan = planOf(options);
    const able = canUseLab();
    if (!able.ok) {
      console.error(`This machine cannot run the lab: ${able.reason}`);
      return EXIT.unable;
    }
    const interrupted = new AbortController();
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => interrupted.abort(labRunError('LAB_INTERRUPTED', `Ended by ${signal}.`)));
    }
    if (options.mode === 'selftest') return (await runSelftest((line) => console.log(line))) ? EXIT.ok : EXIT.breach;
    return await score(options, plan, interrupted.signal);
  } catch (error) {
    if (!isClawError(error)) throw error;
    console.error(`${error.code}: ${error.message}${error.hint ? `\n${error.hint}` : ''}`);
    return /_(USAGE|UNKNOWN|INVALID)$/.test(error.code) ? EXIT.usage : EXIT.unable;
  }
}

function listing(): string {
  const contestants = Object.entries(CONTESTANTS).map(([name, { about }]) => [name, about]);
  const scenarios = loadScenarios().filter(({ group }) => group !== 'nat');
  const accesses = loadAccesses().map(({ name, about }) => [`nat/${name}/…`, about]);
  const rows = (list: readonly (readonly string[])[]) => {
    const width = Math.max(...list.map(([name = '']) => name.length));
    return list.map(([name = '', about = '']) => `  ${name.padEnd(width)}  ${about}`).join('\n');
  };
  return `Contestants\n${rows(contestants)}\n\nScenarios\n${rows([...accesses, ...scenarios.map(({ name, about }) => [name, about])])}`;
}

/** Every name is checked before anything is built. */
function planOf(options: LabOptions): PlannedCell[] {
  for (const name of options.contestants) contestantEntry(name);
  const all = loadScenarios();
  if (options.mode === 'canary') {
    return CANARY.flatMap(({ scenario, contestant }) =>
      planCells(selectScenarios(all, [scenario]), [contestant], options),
    );
  }
  const scenarios = options.scenarios.length > 0 ? selectScenarios(all, options.scenarios) : all;
  const contestants = options.contestants.length > 0 ? options.contestants : Object.keys(CONTESTANTS);
  return planCells(scenarios, contestants, options);
}

async function score(options: LabOptions, plan: readonly PlannedCell[], signal: AbortSignal): Promise<number> {
  const names = [...new Set(plan.map(({ contestant }) => contestant))];
  await ensureContestants(names, (line) => console.log(line));
  const date = new Date().toISOString();
  const started = performance.now();
  const versions = new Map<string, string>();
  const width = String(plan.length).length;
  const costAll = plan.reduce((sum, cell) => sum + costMs(cell, options.jobs), 0);
  let done = 0;
  let costDone = 0;
  const outputs = await runPlan(plan, {
    jobs: options.jobs,
    captureFolder: options.capture,
    signal,
    onCell: ({ result, version }, cell) => {
      if (version !== undefined) versions.set(result.contestant, version);
      done += 1;
      costDone += costMs(cell, options.jobs);
      const leftMs = ((performance.now() - started) / costDone) * (costAll - costDone);
      console.log(`[${String(done).padStart(width)}/${plan.length}, ${left(leftMs)} left]  ${cellLine(result)}`);
    },
  });
  const cells = outputs.map(({ result }) => result);
  const results: LabResults = {
    format: RESULTS_FORMAT,
    date,
    seed: options.seed,
    repeat: options.repeat,
    machine: { kernel: release(), cores: availableParallelism(), node: process.versions.node },
    commit: commit(),
    contestants: names.map((name) => ({
      name,
      about: contestantEntry(name).about,
      version: versions.get(name) ?? 'unknown',
    })),
    scenarios: [...new Set(plan.map(({ scenario }) => scenario))].map(factsOf),
    accesses: loadAccesses().map(({ name, label, about }) => ({ name, label, about })),
    cells,
  };
  console.log(`\n${renderTables(results)}`);
  if (options.json !== undefined) write(options.json, `${JSON.stringify(results, rounded)}\n`);
  if (options.html !== undefined) write(options.html, renderPage(results));
  if (options.mode !== 'canary') return EXIT.ok;
  const found = breaches(cells);
  console.log(
    found.length === 0
      ? `\nThe canary is well: ${cells.length} cells as expected, in ${((performance.now() - started) / 1000).toFixed(0)} s.`
      : `\n${table([['What is not as expected'], ...found.map((line) => [line])])}`,
  );
  return found.length === 0 ? EXIT.ok : EXIT.breach;
}

function left(ms: number): string {
  return ms < 90_000 ? `${Math.ceil(ms / 1000)} s` : `${Math.round(ms / 60_000)} min`;
}

function factsOf(scenario: Scenario): LabResults['scenarios'][number] {
  return {
    name: scenario.name,
    group: scenario.group,
    about: scenario.about,
    ...(scenario.cell ? { cell: scenario.cell } : {}),
    marks: scenario.events.map(({ atMs, do: label }) => ({ atMs, label })),
  };
}

/** Microseconds are the last digit that a time here has. */
function rounded(_key: string, value: unknown): unknown {
  return typeof value === 'number' ? Number(value.toFixed(3)) : value;
}

function commit(): string {
  try {
    const output = execFileSync('git', ['rev-parse', '--short', 'HEAD'], {
      cwd: import.meta.dirname,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return output.toString().trim();
  } catch {
    return 'unknown'; // an unpacked archive
  }
}

function write(file: string, text: string): void {
  try {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  } catch (cause) {
    throw labRunError('LAB_OUTPUT_UNWRITABLE', `${file} cannot be written: ${errorText(cause)}`, { cause });
  }
  console.log(`written: ${file}`);
}
