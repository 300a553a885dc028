/**
 * The gate: every check that a change must pass, as named steps with their
 * times. All run even when one fails; only what failed prints its output.
 */

import { spawn } from 'node:child_process';
import { join } from 'node:path';

interface Step {
  readonly name: string;
  /** Program in node_modules/.bin or a script, and its arguments. */
  readonly command: readonly [string, ...string[]];
  /** Print the end of the output even after a success. */
  readonly showTail?: number;
  /** Where, in the output of a failure, it begins to say what failed; all is printed when it does not. */
  readonly failures?: RegExp;
}

interface Outcome {
  readonly step: Step;
  readonly passed: boolean;
}

const root = join(import.meta.dirname, '..');
const bin = (name: string) => join(root, 'node_modules', '.bin', name);

/** Independent and short: two at a time. */
const CHECKS: readonly Step[] = [
  { name: 'types', command: [bin('tsc'), '-b'] },
  { name: 'lint', command: [bin('oxlint'), '--type-aware', '--deny-warnings'] },
  { name: 'unused', command: [bin('knip'), '--no-progress'] },
  { name: 'format', command: [bin('biome'), 'check', '.'] },
  { name: 'layers', command: [process.execPath, join(root, 'scripts', 'check-layers.ts')] },
];
/** Alone, because they measure time. */
const TESTS: Step = {
  name: 'tests',
  command: [bin('vitest'), 'run', ...process.argv.slice(2)],
  showTail: 8,
  failures: /^⎯+ (Failed|Unhandled)/m,
};

const queue = [...CHECKS];
const outcomes: Outcome[] = [];
await Promise.all([worker(), worker()]);
outcomes.push(await runStep(TESTS));

const failed = outcomes.filter((outcome) => !outcome.passed);
if (failed.length > 0) console.log(`failed: ${failed.map((outcome) => outcome.step.name).join(', ')}`);
console.log(`${outcomes.length - failed.length} passed, ${failed.length} failed`);
process.exitCode = failed.length > 0 ? 1 : 0;

async function worker(): Promise<void> {
  for (let step = queue.shift(); step; step = queue.shift()) outcomes.push(await runStep(step));
}

async function runStep(step: Step): Promise<Outcome> {
  const started = performance.now();
  const { code, output } = await capture(step.command);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const passed = code === 0;
  console.log(`${passed ? 'ok    ' : 'FAILED'} ${step.name.padEnd(8)} ${seconds.padStart(6)} s`);
  const failuresAt = step.failures ? Math.max(0, output.search(step.failures)) : 0;
  if (!passed) console.log(output.slice(failuresAt).trimEnd());
  else if (step.showTail) console.log(output.trim().split('\n').slice(-step.showTail).join('\n'));
  return { step, passed };
}

/** Runs a command to its end and collects what it printed. */
function capture([program, ...args]: readonly [string, ...string[]]): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      shell: process.platform === 'win32',
      env: { ...process.env, ...(process.stdout.isTTY ? { FORCE_COLOR: '1' } : { NO_COLOR: '1' }) },
    });
    const chunks: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk));
    child.once('error', (error) => resolve({ code: 127, output: `${program}: ${error.message}` }));
    child.once('close', (code) => resolve({ code: code ?? 1, output: Buffer.concat(chunks).toString() }));
  });
}
