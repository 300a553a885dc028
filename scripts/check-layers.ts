/**
 * Fails when the architecture of layers.json is broken: a package may depend on
 * and import from layers below its own; nobody reaches into another package's
 * files; test code is no runtime dependency; and only the named files read the
 * machine's clock or its dice.
 */

import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { importedSpecifiers, withoutComments } from './imports.ts';

export interface Layers {
  /** From the bottom up; names of one layer are siblings. */
  readonly layers: readonly (readonly string[])[];
  readonly testOnly: readonly string[];
  readonly unrestricted: readonly string[];
  /** Files, or folders ending in a slash, that may use clock, timers and chance directly. */
  readonly readsMachineClock: readonly string[];
}

interface Package {
  readonly name: string;
  /** Relative to the root, with forward slashes. */
  readonly folder: string;
  readonly dependencies: readonly string[];
}

interface Manifest {
  readonly name: string;
  readonly workspaces?: readonly string[];
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
}

const SCOPE = '@claw/';
/** A socket's own `setTimeout` is none of the machine's. */
const MACHINE_CLOCK =
  /(?:\b(?:Date\.now|performance\.now|Math\.random|new Date\(\s*\))|(?<!\w\.|\)\.)\bset(?:Timeout|Interval)|\bglobalThis\.set(?:Timeout|Interval))/g;
const TIMER_MODULES = /^(?:node:)?timers(?:\/promises)?$/;

/** Every breach found under `root`, as one sentence each; empty when all is well. */
export function findLayerBreaches(root: string): string[] {
  const layers = readJson<Layers>(join(root, 'layers.json'));
  const packages = readPackages(root);
  return packages.flatMap((pkg) => [
    ...pkg.dependencies
      .filter((name) => name.startsWith(SCOPE))
      .flatMap((name) => judge(layers, pkg.name, name, `${pkg.folder}/package.json`)),
    ...sourceFiles(root, pkg).flatMap((file) => checkFile(root, layers, pkg, file)),
  ]);
}

function readPackages(root: string): Package[] {
  const patterns = readJson<Manifest>(join(root, 'package.json')).workspaces ?? [];
  return globSync([...patterns], { cwd: root })
    .filter((folder) => existsSync(join(root, folder, 'package.json')))
    .toSorted()
    .map((folder) => {
      const manifest = readJson<Manifest>(join(root, folder, 'package.json'));
      const { dependencies, optionalDependencies, peerDependencies } = manifest;
      return {
        name: manifest.name,
        folder: folder.split(sep).join('/'),
        dependencies: Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies }),
      };
    });
}

function sourceFiles(root: string, pkg: Package): string[] {
  return globSync('src/**/*.ts', { cwd: join(root, pkg.folder) }).map((file) =>
    `${pkg.folder}/${file}`.split(sep).join('/'),
  );
}

function checkFile(root: string, layers: Layers, pkg: Package, file: string): string[] {
  const source = readFileSync(join(root, file), 'utf8');
  const specifiers = importedSpecifiers(source);
  const breaches = specifiers.flatMap((specifier) => {
    if (specifier.startsWith('.')) {
      const inside = relative(join(root, pkg.folder), resolve(root, dirname(file), specifier));
      return inside.startsWith('..') ? [`${file}: ${specifier} leaves the package; import it by name`] : [];
    }
    if (!specifier.startsWith(SCOPE)) return [];
    const [, name = '', ...deep] = specifier.split('/');
    if (deep[0] === 'src') return [`${file}: ${specifier} reaches into another package; import what it exports`];
    return judge(layers, pkg.name, SCOPE + name, file);
  });
  if (layers.readsMachineClock.some((place) => (place.endsWith('/') ? file.startsWith(place) : file === place))) {
    return breaches;
  }
  const uses = withoutComments(source, 'blank strings').match(MACHINE_CLOCK) ?? [];
  const timers = specifiers.filter((specifier) => TIMER_MODULES.test(specifier));
  for (const use of new Set([...uses, ...timers])) {
    breaches.push(`${file}: ${use} is for base's clock.ts and random.ts; take a Clock or a Random`);
  }
  return breaches;
}

/** Whether `from` may use `to`; `place` is where it does. */
function judge(layers: Layers, from: string, to: string, place: string): string[] {
  if (from === to) return [`${place}: ${to} imports itself by name; use a relative path`];
  if (layers.unrestricted.includes(from) || layers.testOnly.includes(from)) return [];
  if (layers.testOnly.includes(to)) return [`${place}: ${to} is for tests, never a runtime dependency`];
  const own = layers.layers.findIndex((layer) => layer.includes(from));
  const other = layers.layers.findIndex((layer) => layer.includes(to));
  if (own < 0) return [`${place}: ${from} has no layer in layers.json`];
  if (other < 0) return [`${place}: ${to} has no layer in layers.json`];
  if (own > other) return [];
  const why = own === other ? 'its sibling; they meet through @claw/contracts' : 'a layer above it';
  return [`${place}: ${from} may not use ${to}, ${why}`];
}

function readJson<T>(path: string): T {
  return JSON.parse(readFileSync(path, 'utf8')) as T;
}

if (import.meta.main) {
  const breaches = findLayerBreaches(join(import.meta.dirname, '..'));
  for (const breach of breaches) console.error(breach);
  process.exitCode = breaches.length > 0 ? 1 : 0;
}
