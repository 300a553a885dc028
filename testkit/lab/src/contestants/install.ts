/**
 * The contestants that the repository does not depend on: packages of
 * `testkit/lab/contestants`, installed from its own lockfile when they are first
 * asked for, without running install scripts, and again when that lockfile changed.
 */

import { type SpawnOptions, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { readFileIfPresent } from '@claw/base';
import { contestantEntry } from './adapters/index.ts';
import { CONTESTANTS_FOLDER } from './adapters/packages.ts';
import { contestantError } from './errors.ts';
import { sharedClock } from './shared-clock.ts';

const STAMP = fileURLToPath(new URL('node_modules/.claw-installed', CONTESTANTS_FOLDER));
const INSTALL = ['ci', '--ignore-scripts', '--loglevel=error', '--no-progress'];
const OUTPUT_CHARACTERS = 2000;

/**
 * Makes sure that the packages of these contestants are installed; does nothing for those that need none.
 * @throws ClawError `CONTESTANT_UNKNOWN`, `CONTESTANT_INSTALL_FAILED`
 */
export async function ensureContestants(names: readonly string[], print: (line: string) => void): Promise<void> {
  const asking = names.filter((name) => contestantEntry(name).installed);
  if (asking.length === 0) return;
  const lock = await readFile(new URL('package-lock.json', CONTESTANTS_FOLDER));
  const wanted = createHash('sha256').update(lock).digest('hex');
  if ((await readFileIfPresent(STAMP))?.toString().trim() === wanted) return;
  print(`Installing the packages of ${asking.join(', ')} into testkit/lab/contestants (once; some 140 MB) ...`);
  const startedMs = sharedClock.monotonicMs();
  await runNpm();
  await writeFile(STAMP, `${wanted}\n`);
  print(`Installed in ${((sharedClock.monotonicMs() - startedMs) / 1000).toFixed(0)} s.`);
}

async function runNpm(): Promise<void> {
  const npm = process.env['npm_execpath'];
  const options: SpawnOptions = { cwd: CONTESTANTS_FOLDER, stdio: ['ignore', 'pipe', 'pipe'] };
  const child = npm
    ? spawn(process.execPath, [npm, ...INSTALL], options)
    : spawn('npm', INSTALL, { ...options, shell: process.platform === 'win32' });
  let output = '';
  const keep = (chunk: Buffer) => {
    output = (output + chunk.toString()).slice(-OUTPUT_CHARACTERS);
  };
  child.stdout?.on('data', keep);
  child.stderr?.on('data', keep);
  const code = await new Promise<number | string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (exitCode, signal) => resolve(exitCode ?? signal ?? 'no exit code'));
  });
  if (code === 0) return;
  throw contestantError('CONTESTANT_INSTALL_FAILED', `npm ci of the contestants failed (${code}): ${output.trim()}`, {
    hint: 'Without them the contestants of the repository itself can run: claw, node-datachannel, tcp-cubic, tcp-bbr, tls, ssh.',
  });
}
