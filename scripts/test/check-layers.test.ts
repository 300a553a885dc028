import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { findLayerBreaches } from '../check-layers.ts';
import { importedSpecifiers } from '../imports.ts';

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'layers-'));
  write('package.json', { name: 'root', workspaces: ['packages/*', 'testkit'] });
  write('layers.json', {
    layers: [['@claw/low'], ['@claw/left', '@claw/right'], ['@claw/high']],
    testOnly: ['@claw/testkit'],
    unrestricted: [],
    readsMachineClock: ['packages/low/src/clock.ts', 'testkit/'],
  });
  for (const name of ['low', 'left', 'right', 'high']) addPackage(name, {});
  write('testkit/package.json', { name: '@claw/testkit' });
});

afterEach(() => rmSync(root, { recursive: true }));

describe('layers', () => {
  test('a package that imports from below passes', () => {
    addPackage('high', { '@claw/low': '0.1.0', '@claw/left': '0.1.0', ws: '8.0.0' });
    write('packages/high/src/index.ts', "import { a } from '@claw/low';\nexport * from './other.ts';\n");
    expect(findLayerBreaches(root)).toEqual([]);
  });

  test.each([
    ['a dependency on a layer above', 'low', { '@claw/high': '0.1.0' }, 'a layer above'],
    ['a dependency on a sibling', 'left', { '@claw/right': '0.1.0' }, 'its sibling'],
    ['a dependency on the testkit', 'high', { '@claw/testkit': '0.1.0' }, 'for tests'],
    ['a dependency that has no layer', 'high', { '@claw/new': '0.1.0' }, 'has no layer'],
  ])('%s is refused', (_, name, dependencies, message) => {
    addPackage(name, dependencies);
    expect(findLayerBreaches(root)).toEqual([expect.stringContaining(message)]);
  });

  test.each([
    ['a type import from above', "import type {\n  A,\n} from '@claw/high';", 'a layer above'],
    ['a lazy import from above', "const a = await import('@claw/high');", 'a layer above'],
    ['a re-export of a sibling', "export { a } from '@claw/right/part';", 'its sibling'],
    ['a deep import', "import '@claw/low/src/a.ts';", 'reaches into another package'],
    ['a path that leaves the package', "import { a } from '../../low/src/a.ts';", 'leaves the package'],
    ['a test helper', "import { fake } from '@claw/testkit';", 'for tests'],
    ['an import of itself by name', "import { a } from '@claw/left';", 'imports itself'],
    ['Date.now', 'const now = Date.now();', 'Date.now is for base'],
    ['a timer inside a template', 'const t = `$' + '{setTimeout(f, 1)}`;', 'setTimeout is for base'],
    ['a timer module', "import { setTimeout as wait } from 'node:timers/promises';", 'is for base'],
    ['chance after a regular expression', 'const r = /[\'"]/; Math.random();', 'Math.random is for base'],
  ])('%s is refused', (_, source, message) => {
    write('packages/left/src/index.ts', `${source}\n`);
    expect(findLayerBreaches(root).join('\n')).toContain(message);
  });

  test('a clock is read in the files named for it, and in comments and strings anywhere', () => {
    write('packages/low/src/clock.ts', 'export const now = () => Date.now();');
    write('testkit/src/index.ts', 'setTimeout(() => {}, 1);');
    write('packages/left/src/index.ts', "// Date.now()\n/* Math.random() */ const a = 'setTimeout';\n");
    expect(findLayerBreaches(root)).toEqual([]);
  });
});

test('imports in comments and strings are none', () => {
  const source = [
    "// import a from 'comment';",
    "/* import b from 'block'; */",
    'const text = "\\"; import c from \'string\';";',
    "const url = 'https://x'; import real from 'real';",
  ].join('\n');
  expect(importedSpecifiers(source)).toEqual(['real']);
});

function addPackage(name: string, dependencies: Record<string, string>): void {
  write(`packages/${name}/package.json`, { name: `@claw/${name}`, dependencies });
}

function write(path: string, content: string | object): void {
  const file = join(root, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
}
