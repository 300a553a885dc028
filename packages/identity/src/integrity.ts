/**
 * The runtime integrity hash: SHA-256 over the installed package's files, so
 * that two nodes can tell whether they run the same software. What it covers
 * and what it cannot promise is in docs/protocols/integrity.md.
 */

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { RuntimeFacts } from '@claw/contracts';

/** The folder that holds `packages/` and `apps/`: the installed package. */
export const INSTALLATION_ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/** Measures the installation under `root`. Reads every covered file; about 10 ms. */
export function measureRuntime(root: string = INSTALLATION_ROOT): RuntimeFacts {
  const hash = createHash('sha256');
  for (const file of coveredFiles(root)) {
    const content = createHash('sha256').update(readFileSync(file)).digest('hex');
    hash.update(`${content}  ${relative(root, file).split(sep).join('/')}\n`);
  }
  const manifest = JSON.parse(readFileSync(join(root, 'apps/claw/package.json'), 'utf8')) as { version: string };
  return { integrity: hash.digest('hex'), version: manifest.version };
}

/** Every file that the hash covers, in byte order of its path: sources, manifests, the lockfile. */
function coveredFiles(root: string): string[] {
  const files = [join(root, 'package-lock.json')];
  const homes = [...subdirectories(join(root, 'packages')), join(root, 'apps/claw')];
  for (const home of homes) {
    files.push(join(home, 'package.json'));
    for (const folder of ['bin', 'src']) files.push(...filesBelow(join(home, folder)));
  }
  return files.sort();
}

function subdirectories(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(folder, entry.name));
}

function filesBelow(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true, recursive: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
  } catch {
    return []; // a package without that folder
  }
}
