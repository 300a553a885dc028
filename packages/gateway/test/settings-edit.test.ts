import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, renameSync, watch, writeFileSync, writeSync } from 'node:fs';
import { lstat, mkdtemp, readdir, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse, tokenize } from '@humanwhocodes/momoa';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { editSettings, type JsonValue, loadSettings, readSettings } from '../src/settings/index.ts';
import { parseJson5, valueOf } from '../src/settings/json5.ts';
import { applySplices, editJson5, planEdit } from '../src/settings/splice.ts';

const SETTINGS_URL = new URL('../src/settings/index.ts', import.meta.url).href;
const tcp = (target: string) => ({ kind: 'tcp', target });

let home: string;
let file: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'claw-edit-'));
  file = join(home, 'claw.json');
});
afterEach(() => rm(home, { recursive: true, force: true }));

test.each<[string, string, JsonValue | undefined, string, string]>([
  ['replaces a value only', 'name', 'b', "{ /* x */ name : 'a' /* y */ , }", "{ /* x */ name : 'b' /* y */ , }"],
  [
    'adds after the last member, before its comma-less comment',
    'lan',
    false,
    '{\n  name: "a" // me\n  // end\n}\n',
    '{\n  name: "a", // me\n  lan: false\n  // end\n}\n',
  ],
  [
    'keeps the trailing comma',
    'lan',
    false,
    "{\r\n\tname: 'a', // me\r\n}",
    "{\r\n\tname: 'a', // me\r\n\tlan: false,\r\n}",
  ],
  ['keeps to one line', 'lan', false, '{"name":"a"}', '{"name":"a", "lan": false}'],
  ['fills an empty root', 'lan', false, '{}', '{\n  lan: false\n}'],
  ['keeps the comment of an empty root', 'lan', false, '// hi\n{ // in\n}\n', '// hi\n{ // in\n  lan: false\n}\n'],
  [
    'makes what is missing on the way',
    'services.web',
    tcp('a:1'),
    "{\n  name: 'a',\n}",
    "{\n  name: 'a',\n  services: {\n    web: { kind: 'tcp', target: 'a:1' },\n  },\n}",
  ],
  [
    'deletes a line',
    'lan',
    undefined,
    '{\n  name: "a",\n  lan: true,\n  log: {},\n}',
    '{\n  name: "a",\n  log: {},\n}',
  ],
  [
    'deletes the last with the comma before it',
    'lan',
    undefined,
    '{\n  "name": "a", // x\n  "lan": true\n}',
    '{\n  "name": "a" // x\n}',
  ],
  ['deletes within a line', 'lan', undefined, '{ lan: true, name: "a" }', '{ name: "a" }'],
  [
    'keeps the comment of what it deletes',
    'lan',
    undefined,
    '{\n  lan: true, // no beacon\n  name: "a",\n}',
    '{\n  // no beacon\n  name: "a",\n}',
  ],
  [
    'changes nothing for the same value',
    'relays',
    ['wss://a'],
    '{ relays: [ "wss://a", /* b */ ] }',
    '{ relays: [ "wss://a", /* b */ ] }',
  ],
  ['deletes nothing that is not there', 'services.web.to', undefined, '{ services: {} }', '{ services: {} }'],
  [
    'quotes as its neighbours do',
    'services.b-c',
    1,
    "{ services: { 'a': 'x' } }",
    "{ services: { 'a': 'x', 'b-c': 1 } }",
  ],
])('an edit %s', (_what, path, value, before, after) => {
  expect(editJson5(before, [{ path: path.split('.'), value }])).toBe(after);
});

// Random JSON5: each container and value in random dress, beside the value it stands for.
const blank = fc.constantFrom(
  '',
  ' ',
  '\n',
  '\r\n  ',
  '\t',
  ' /* c, } */ ',
  ' // line " {\n',
  '\u00a0',
  ' //\r\n',
  '/**/',
);
const key = fc.constantFrom('a', 'b', 'c', '$d', 'with space', "it's", 'é', 'null', '');
const scalar: fc.Arbitrary<JsonValue> = fc.oneof(
  fc.string({ maxLength: 8 }),
  fc.integer(),
  fc.boolean(),
  fc.constant(null),
  fc.constantFrom('\\', '"', "'", '\u2028', '\n', '😀\ud800'),
);
const plainValue = fc.letrec<{ value: JsonValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    scalar,
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(key, tie('value'), { maxKeys: 4, noNullPrototype: true }),
  ),
})).value;
const model = fc.dictionary(key, plainValue, { maxKeys: 6, noNullPrototype: true });

type Dice = <T>(arbitrary: fc.Arbitrary<T>) => T;
function dress(value: JsonValue, dice: Dice): string {
  const pad = () => dice(blank);
  const quoted = (text: string) => {
    const json = JSON.stringify(text);
    return dice(fc.boolean()) ? json : `'${json.slice(1, -1).replaceAll('\\"', '"').replaceAll("'", "\\'")}'`;
  };
  if (typeof value === 'string') return quoted(value);
  if (typeof value === 'number') return value >= 0 && dice(fc.boolean()) ? `0x${value.toString(16)}` : String(value);
  if (value === null || typeof value === 'boolean') return String(value);
  const comma = () => (dice(fc.boolean()) ? ',' : '');
  if (Array.isArray(value)) {
    const items = value.map((item: JsonValue) => `${pad()}${dress(item, dice)}${pad()}`);
    return `[${items.join(',')}${items.length > 0 ? comma() : ''}${pad()}]`;
  }
  const members = Object.entries(value).map(([name, item]) => {
    const bare = /^[a-z$é]+$/.test(name) && name !== 'null' && dice(fc.boolean());
    return `${pad()}${bare ? name : quoted(name)}${pad()}:${pad()}${dress(item, dice)}${pad()}`;
  });
  return `{${members.join(',')}${members.length > 0 ? comma() : ''}${pad()}}`;
}

const read = (text: string) => valueOf(parseJson5(text).root, (_, message) => expect.fail(message));
const comments = (text: string, from = 0, to = text.length) =>
  tokenize(text, { mode: 'json5', ranges: true })
    .filter((token) => token.type.endsWith('Comment') && token.loc.start.offset >= from && token.loc.end.offset <= to)
    .map((token) => text.slice(token.loc.start.offset, token.loc.end.offset));

function setIn(target: JsonValue, [head, ...rest]: readonly string[], value: JsonValue | undefined): JsonValue {
  const entries = Object.entries(target as Record<string, JsonValue>);
  const current = entries.find(([name]) => name === head)?.[1];
  if (rest.length > 0 && current === undefined && value === undefined) return target;
  const next = rest.length > 0 ? setIn(current ?? {}, rest, value) : value;
  const result = new Map(entries);
  if (next === undefined) result.delete(head as string);
  else result.set(head as string, next);
  return Object.fromEntries(result);
}

test('random edits of random documents give what the model gives and touch nothing else', () => {
  const edit = fc.record({
    path: fc.array(key, { minLength: 1, maxLength: 3 }),
    value: fc.option(plainValue, { nil: undefined, freq: 3 }),
  });
  const seen = { replaced: 0, inserted: 0, deleted: 0 };
  fc.assert(
    fc.property(
      model,
      fc.array(edit, { minLength: 1, maxLength: 5 }),
      fc.gen(),
      fc.boolean(),
      (start, edits, gen, bom) => {
        const dice: Dice = (arbitrary) => gen(() => arbitrary);
        let text = `${bom ? '\ufeff' : ''}${dice(blank)}${dress(start, dice)}${dice(blank)}`;
        let expected: JsonValue = start;
        expect(read(text)).toStrictEqual(expected);
        for (const { path, value } of edits) {
          let parent: JsonValue | undefined = expected;
          for (const step of path.slice(0, -1)) {
            const inner: unknown =
              typeof parent === 'object' && parent !== null && Object.hasOwn(parent, step)
                ? (parent as Record<string, JsonValue>)[step]
                : undefined;
            parent = inner as JsonValue | undefined;
            if (parent === undefined) break;
          }
          const blocked =
            parent !== undefined && (typeof parent !== 'object' || parent === null || Array.isArray(parent));
          if (blocked || blockedEarlier(expected, path)) {
            expect(() => editJson5(text, [{ path, value }])).toThrow(
              expect.objectContaining({ code: 'SETTINGS_INVALID' }),
            );
            continue;
          }
          const splices = planEdit(parseJson5(text), { path, value });
          const after = applySplices(text, splices);
          expected = setIn(expected, path, value);
          expect(read(after)).toStrictEqual(expected);
          expect(Object.keys(read(after) as object)).toEqual(Object.keys(expected as object));

          const removed = splices.map((splice) => text.slice(splice.start, splice.end)).join('');
          const target = memberRange(text, path);
          if (target && value !== undefined) {
            // One splice, exactly over the value.
            if (splices.length > 0) expect(splices.map(({ start, end }) => [start, end])).toEqual([target.value]);
            seen.replaced += splices.length;
          } else if (target) {
            // The member, at most one comma, blanks: every comment outside the member survives.
            const outside = [...comments(text, 0, target.member[0]), ...comments(text, target.member[1])];
            expect(comments(after)).toEqual(outside);
            const around = removed.replace(text.slice(...target.member), '');
            expect(around.trim()).toMatch(/^,?$/);
            seen.deleted += 1;
          } else if (value !== undefined) {
            expect(removed.trim()).toBe('');
            expect(comments(after)).toEqual(comments(text));
            seen.inserted += 1;
          } else {
            expect(after).toBe(text);
          }
          text = after;
        }
      },
    ),
    { numRuns: Number(process.env['CLAW_FUZZ_RUNS'] ?? 2000) },
  );
  expect(Math.min(...Object.values(seen))).toBeGreaterThan(50);
});

function blockedEarlier(value: JsonValue, path: readonly string[]): boolean {
  let node: unknown = value;
  for (const step of path) {
    if (node === undefined) return false;
    if (typeof node !== 'object' || node === null || Array.isArray(node)) return true;
    node = Object.hasOwn(node, step) ? (node as Record<string, unknown>)[step] : undefined;
  }
  return false;
}

/** Where the member of `path` stands, found without the code under test. */
function memberRange(text: string, path: readonly string[]) {
  let node = parse(text, { mode: 'json5', ranges: true }).body;
  let found: { member: [number, number]; value: [number, number] } | undefined;
  for (const step of path) {
    const member =
      node.type === 'Object'
        ? node.members.find((m) => (m.name.type === 'String' ? m.name.value : m.name.name) === step)
        : undefined;
    if (!member) return undefined;
    found = { member: [...(member.range as [number, number])], value: [...(member.value.range as [number, number])] };
    node = member.value;
  }
  return found;
}

test('the first edit makes a commented file of mode 0600', async () => {
  await editSettings(home, [
    { path: ['services', 'ssh'], value: tcp('127.0.0.1:22') },
    { path: ['name'], value: 'desk' },
  ]);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  const text = await readFile(file, 'utf8');
  expect(text).toMatch(/^\/\/ Settings of this OpenClaw node/);
  expect(text).toContain('  services: {\n    ssh: { kind: "tcp", target: "127.0.0.1:22" }\n  },\n  name: "desk"\n}\n');
  expect((await loadSettings(home)).settings).toMatchObject({
    name: 'desk',
    services: { ssh: { kind: 'tcp', to: [] } },
  });
  expect(await readdir(home)).toEqual(['claw.json', 'claw.json.lock']);
});

test('an edit whose result is invalid is refused and the file stays', async () => {
  const text = '{ name: "a" }';
  await writeFile(file, text);
  const edits = [
    { path: ['lan'], value: false },
    { path: ['name'], value: 'a b' },
  ];
  await expect(editSettings(home, edits)).rejects.toMatchObject({
    code: 'SETTINGS_INVALID',
    message: expect.stringContaining('after this change: name: expected'),
  });
  await expect(editSettings(home, [{ path: ['nmae'], value: 'x' }])).rejects.toMatchObject({
    code: 'SETTINGS_INVALID',
    hint: 'Did you mean "name"?',
  });
  await expect(editSettings(home, [{ path: ['name', 'x'], value: 'x' }])).rejects.toMatchObject({
    code: 'SETTINGS_INVALID',
  });
  await expect(editSettings(home, [{ path: [], value: 'x' }])).rejects.toThrow(TypeError);
  expect(await readFile(file, 'utf8')).toBe(text);
});

test('an invalid file may be edited only into a valid one', async () => {
  await writeFile(file, '{\n lan: 1 }');
  await expect(editSettings(home, [{ path: ['name'], value: 'a' }])).rejects.toMatchObject({
    code: 'SETTINGS_INVALID',
    message: expect.stringContaining('claw.json:2:7: lan:'),
  });
  await editSettings(home, [{ path: ['lan'], value: true }]);
  expect(await readFile(file, 'utf8')).toBe('{\n lan: true }');
});

test.each(['', '{', '{ name: "a" ', 'not json', '\0'])('a broken file (%j) is never overwritten', async (text) => {
  await writeFile(file, text);
  await expect(editSettings(home, [{ path: ['name'], value: 'a' }])).rejects.toMatchObject({ code: 'SETTINGS_SYNTAX' });
  expect(await readFile(file, 'utf8')).toBe(text);
  expect(await readdir(home)).toEqual(['claw.json', 'claw.json.lock']);
});

test('foreign root keys and openclaw.json keep every byte', async () => {
  await writeFile(join(home, 'openclaw.json'), 'not even { json');
  await writeFile(file, "{ zzz: { 'a' : [1,,], }, name: 'x' }".replace(',,', ','));
  await editSettings(home, [{ path: ['name'], value: 'y' }]);
  expect(await readFile(file, 'utf8')).toBe("{ zzz: { 'a' : [1,], }, name: 'y' }");
  expect(await readFile(join(home, 'openclaw.json'), 'utf8')).toBe('not even { json');
});

test('a linked file stays a link, its target is edited, and a dangling one is created at the target', async () => {
  const elsewhere = join(home, 'dotfiles.json5');
  await symlink('dotfiles.json5', file);
  await editSettings(home, [{ path: ['name'], value: 'a' }]);
  await editSettings(home, [{ path: ['lan'], value: false }]);
  expect((await lstat(file)).isSymbolicLink()).toBe(true);
  expect(await readlink(file)).toBe('dotfiles.json5');
  expect(readSettings(await readFile(elsewhere, 'utf8'), home).settings).toMatchObject({ name: 'a', lan: false });
  expect((await readdir(home)).sort()).toEqual(['claw.json', 'claw.json.lock', 'dotfiles.json5']);
});

test('what a killed writer left is removed by the next one, and nothing else', async () => {
  await writeFile(join(home, 'claw.json.999999999.0011aabb.tmp'), '{');
  await writeFile(join(home, 'claw.json.bak'), 'mine');
  await writeFile(join(home, 'claw.json.swp.tmp'), 'mine');
  await editSettings(home, [{ path: ['lan'], value: false }]);
  expect((await readdir(home)).sort()).toEqual(['claw.json', 'claw.json.bak', 'claw.json.lock', 'claw.json.swp.tmp']);
});

/** A process that makes `count` edits, each a service of its own, and prints the name of each that is durable. */
function startWriter(id: string, count: number) {
  const script = `
    import { editSettings } from ${JSON.stringify(SETTINGS_URL)};
    for (let i = 0; i < ${count}; i++) {
      await editSettings(${JSON.stringify(home)}, [{ path: ['services', '${id}-' + i], value: { kind: 'tcp', target: 'localhost:' + (i + 1) } }]);
      process.stdout.write('${id}-' + i + '\\n');
    }`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk) => (out += chunk));
  child.stderr.on('data', (chunk) => (err += chunk));
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, err }));
  return { child, ended, done: () => out.split('\n').filter((line) => line !== '') };
}

test('200 edits by 8 processes all survive, and so do those of an editor that knows no lock', {
  timeout: 120_000,
}, async () => {
  let n = 100_000;
  await writeFile(file, `// top\n{\n  // mine\n  foreign: { n: ${n} },\n}\n`);
  const writers = Array.from({ length: 8 }, (_, index) => startWriter(`w${index}`, 25));
  const all = Promise.all(writers.map((writer) => writer.ended));
  // An editor that changes its own six bytes in place, in whatever inode it opened.
  let running = true;
  void all.finally(() => (running = false));
  while (running) {
    const opened = openSync(file, 'r+');
    const at = readFileSync(opened, 'utf8').indexOf(`n: ${n} `);
    if (at >= 0) {
      n += 1;
      writeSync(opened, String(n), at + 3);
    }
    closeSync(opened);
    await new Promise((resolve) => setTimeout(resolve, 10));
    const shown = () => readFileSync(file, 'utf8').includes(`n: ${n} `);
    await expect
      .poll(shown, { timeout: 5000, interval: 5, message: `edit ${n} of the other editor was lost` })
      .toBe(true);
  }
  for (const { code, err } of await all) expect({ code, err }).toEqual({ code: 0, err: '' });
  const text = await readFile(file, 'utf8');
  const { settings } = readSettings(text, home);
  const expected = writers.flatMap((_, writer) => Array.from({ length: 25 }, (_, i) => `w${writer}-${i}`));
  expect(Object.keys(settings.services).sort()).toEqual(expected.sort());
  expect(text.startsWith('// top\n{\n  // mine\n')).toBe(true);
  expect(text).toContain(`n: ${n} `);
  expect(n).toBeGreaterThan(100_020);
  expect(await readdir(home)).toEqual(['claw.json', 'claw.json.lock']);
});

test('what an editor writes into the very file that an edit replaces is merged', async () => {
  writeFileSync(file, '{ foreign: 100000, }');
  const opened = openSync(file, 'r+');
  let written = false;
  const watcher = watch(home, (_event, name) => {
    if (name !== 'claw.json' || written) return;
    written = true;
    writeSync(opened, '7', 11);
  });
  await editSettings(home, [{ path: ['lan'], value: false }]);
  watcher.close();
  closeSync(opened);
  expect(written).toBe(true);
  expect(readFileSync(file, 'utf8')).toBe('{ foreign: 700000, lan: false, }');
});

test.each(['{ name: "theirs" }', '{ name: "ours__" }'])(
  'a file that an editor renames into place meanwhile (%s) is edited in turn',
  async (theirs) => {
    writeFileSync(file, '{ name: "ours__" }');
    let renamed = false;
    const watcher = watch(home, (_event, name) => {
      if (!name?.endsWith('.tmp') || renamed) return;
      renamed = true;
      writeFileSync(join(home, 'other'), theirs);
      renameSync(join(home, 'other'), file);
    });
    await editSettings(home, [{ path: ['lan'], value: false }]);
    watcher.close();
    expect(renamed).toBe(true);
    expect(readFileSync(file, 'utf8')).toBe(theirs.replace(' }', ', lan: false }'));
  },
);

test('a file that an editor creates while the first edit is being written is edited, not replaced', async () => {
  let created = false;
  const watcher = watch(home, (_event, name) => {
    if (!name?.endsWith('.tmp') || created) return;
    created = true;
    writeFileSync(file, '{ name: "theirs" }');
  });
  await editSettings(home, [{ path: ['lan'], value: false }]);
  watcher.close();
  expect(created).toBe(true);
  expect(readFileSync(file, 'utf8')).toBe('{ name: "theirs", lan: false }');
});

test('a file that is empty for a moment is waited for', async () => {
  writeFileSync(file, '');
  setTimeout(() => writeFileSync(file, '{ name: "theirs" }'), 60);
  await editSettings(home, [{ path: ['lan'], value: false }]);
  expect(readFileSync(file, 'utf8')).toBe('{ name: "theirs", lan: false }');
});

test('writers killed at any moment leave a valid file that holds every edit they reported', {
  timeout: 120_000,
}, async () => {
  const reported: string[] = [];
  for (let round = 0; round < 10; round++) {
    const writers = [startWriter(`r${round}a`, 1000), startWriter(`r${round}b`, 1000)];
    while (writers.every((writer) => writer.done().length < 2))
      await once(writers[0]!.child.stdout, 'data', { signal: AbortSignal.timeout(20_000) });
    await new Promise((resolve) => setTimeout(resolve, round * 3));
    for (const writer of writers) writer.child.kill('SIGKILL');
    for (const writer of writers) {
      await writer.ended;
      reported.push(...writer.done());
    }
    const { settings } = await loadSettings(home);
    for (const name of reported) expect(settings.services).toHaveProperty([name]);
  }
  await editSettings(home, [{ path: ['name'], value: 'after' }]);
  expect((await loadSettings(home)).settings.name).toBe('after');
  expect(await readdir(home)).toEqual(['claw.json', 'claw.json.lock']);
});

test('an editor that keeps writing ends in SETTINGS_CONFLICT and keeps its text', async () => {
  writeFileSync(file, '{ foreign: 0 }');
  let n = 0;
  const busy = setInterval(() => writeFileSync(file, `{ foreign: ${++n} }`), 0);
  const outcome = await editSettings(home, [{ path: ['lan'], value: false }]).then(
    () => 'edited',
    (error) => error.code,
  );
  clearInterval(busy);
  // Either it found a gap, or it gave up; the file is valid both ways.
  expect(['edited', 'SETTINGS_CONFLICT']).toContain(outcome);
  readSettings(await readFile(file, 'utf8'), home);
});
