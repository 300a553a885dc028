import { execFileSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compareVersions, isVersion } from '@claw/base';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { loadSettings, readSettings } from '../src/settings/index.ts';
import { nameFrom } from '../src/settings/load.ts';

let home: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'claw-settings-'));
});
afterEach(() => rm(home, { recursive: true, force: true }));

const write = (text: string | Uint8Array) => writeFile(join(home, 'claw.json'), text, { mode: 0o600 });
const NODE_ID = 'a'.repeat(51) + 'a';

test('a missing file gives every default, frozen', async () => {
  const { settings, warnings } = await loadSettings(home);
  expect(warnings).toEqual([]);
  expect(settings).toEqual({
    name: expect.stringMatching(/^[A-Za-z0-9._-]{1,32}$/),
    relays: [],
    lan: true,
    iceServers: [],
    policy: { integrity: 'warn' },
    inbox: { directory: join(home, 'inbox'), maxBytes: 10 * 1024 ** 3 },
    services: {},
    log: { level: 'info' },
  });
  expect(() => Object.assign(settings.policy, { integrity: 'off' })).toThrow(TypeError);
  expect(await readdir(home)).toEqual([]);
});

test('a full file comes back as written', async () => {
  await write(`\ufeff{ // all of it\r\n
    name: 'desk', relays: ['wss://relay.example/claw', "ws://127.0.0.1:8080"], lan: false,
    iceServers: [{ urls: 'stun:stun.example:3478' }, { urls: ['turns:t.example:443?transport=tcp'], username: 'u', credential: 'c' }],
    policy: { integrity: 'require', minVersion: '0.1.0', maxVersion: '1.0.0-rc.1' },
    inbox: { directory: '/srv/inbox', maxBytes: 1e6 },
    services: {
      ssh: { kind: 'tcp', target: '127.0.0.1:22', to: ['${NODE_ID}'] },
      six: { kind: 'tcp', target: '[::1]:22' },
      web: { kind: 'http', target: 'http://localhost:3000/a' },
      tools: { kind: 'mcp', command: ['npx', '-y', 'x'] },
      'share.2': { kind: 'files', directory: '/srv/files', to: [] },
    },
    log: { level: 'debug' },
  }`);
  const { settings } = await loadSettings(home);
  expect(settings.services).toEqual({
    ssh: { kind: 'tcp', target: '127.0.0.1:22', to: [NODE_ID] },
    six: { kind: 'tcp', target: '[::1]:22', to: [] },
    web: { kind: 'http', target: 'http://localhost:3000/a', to: [] },
    tools: { kind: 'mcp', command: ['npx', '-y', 'x'], to: [] },
    'share.2': { kind: 'files', directory: '/srv/files', to: [] },
  });
  expect(settings.iceServers[1]).toEqual({
    urls: ['turns:t.example:443?transport=tcp'],
    username: 'u',
    credential: 'c',
  });
  expect(settings).toMatchObject({
    name: 'desk',
    lan: false,
    inbox: { directory: '/srv/inbox', maxBytes: 1e6 },
    log: { level: 'debug' },
  });
});

test.each([
  ['{\n  name: "a b",\n}', 'claw.json:2:9: name: expected 1 to 32 letters, digits, ".", "_" or "-", found "a b"'],
  ['{ name: 5 }', 'claw.json:1:9: name: expected a string, found 5'],
  [
    '{ relays: ["wss://a", "http://b"] }',
    'claw.json:1:23: relays[1]: expected a ws:// or wss:// URL without credentials, found "http://b"',
  ],
  [
    '{ relays: ["wss://me:secret@a"] }',
    'claw.json:1:12: relays[0]: expected a ws:// or wss:// URL without credentials, found "wss://***@a"',
  ],
  ['{ iceServers: [{ urls: "http://x" }] }', 'claw.json:1:24: iceServers[0].urls: expected a stun:'],
  [
    '{ iceServers: [{ urls: "stun:x", credential: 123456 }] }',
    'iceServers[0].credential: expected a string, found a value that is not shown',
  ],
  ['{ lan: "yes" }', 'claw.json:1:8: lan: expected true or false, found "yes"'],
  ['{ policy: { integrity: "strict" } }', 'policy.integrity: expected "require" or "warn" or "off", found "strict"'],
  ['{ policy: { minVersion: "1.0" } }', 'policy.minVersion: expected a semantic version such as 1.2.3, found "1.0"'],
  [
    '{ policy: { minVersion: "2.0.0", maxVersion: "1.9.9" } }',
    'claw.json:1:11: policy: expected a maxVersion that is not below minVersion',
  ],
  [
    '{ policy: { minVersoin: "1.0.0" } }',
    'claw.json:1:13: policy.minVersoin: found an unknown key; did you mean "minVersion"?',
  ],
  ['{ inbox: { maxBytes: 0 } }', 'inbox.maxBytes: expected a whole number of bytes above 0, found 0'],
  ['{ inbox: { maxBytes: Infinity } }', 'inbox.maxBytes: expected a whole number of bytes above 0, found Infinity'],
  ['{ inbox: { maxBytes: NaN } }', 'inbox.maxBytes: expected a number, found NaN'],
  ['{ inbox: { directory: "./in" } }', 'inbox.directory: expected an absolute path, found "./in"'],
  ['{ services: { Web: { kind: "tcp", target: "a:1" } } }', 'claw.json:1:15: services.Web: expected a service name'],
  [
    '{ services: { web: { kind: "udp", target: "a:1" } } }',
    'claw.json:1:28: services.web.kind: expected "tcp" or "http" or "mcp" or "files", found "udp"',
  ],
  ['{ services: { web: { kind: "tcp" } } }', 'claw.json:1:20: services.web: expected the key "target", found none'],
  [
    '{ services: { web: { kind: "tcp", target: "a:0" } } }',
    'services.web.target: expected HOST:PORT such as 127.0.0.1:22, found "a:0"',
  ],
  ['{ services: { web: { kind: "tcp", target: ":22" } } }', 'expected HOST:PORT'],
  ['{ services: { web: { kind: "tcp", target: "[fe80::zz]:22" } } }', 'expected HOST:PORT'],
  ['{ services: { web: { kind: "http", target: "ftp://a" } } }', 'expected an http:// or https:// URL'],
  [
    '{ services: { m: { kind: "mcp", command: [] } } }',
    'services.m.command: expected a program and its arguments, found []',
  ],
  ['{ services: { m: { kind: "mcp", command: "npx x" } } }', 'services.m.command: expected an array, found "npx x"'],
  [
    '{ services: { f: { kind: "files", directory: "/a", to: ["b ob"] } } }',
    'services.f.to[0]: expected the node id of a peer ("claw share NAME --to PEER" looks it up), found "b ob"',
  ],
  [
    '{ services: { f: { kind: "files", directory: "/a", too: [] } } }',
    'claw.json:1:52: services.f.too: found an unknown key; did you mean "to"?',
  ],
  [
    '{ services: { constructor: { kind: "tcp", target: "a:1" } } }',
    'claw.json:1:15: services: expected another key than "constructor"',
  ],
  ['{ services: { __proto__: { kind: "tcp", target: "a:1" } } }', 'services: expected another key than "__proto__"'],
  ['{ services: { a: { kind: "tcp", target: "a:1" }, a: 1 } }', 'claw.json:1:50: services: found the key "a" twice'],
  ['{ name: "a",\r\n  name: "b" }', 'claw.json:2:3: name: found this key twice'],
  ['{ log: { level: "loud" } }', 'log.level: expected "debug" or "info" or "warn" or "error", found "loud"'],
])('%s is refused as invalid, with place, path and expectation', (text, message) => {
  expect(() => readSettings(text, '/home')).toThrow(
    expect.objectContaining({ code: 'SETTINGS_INVALID', message: expect.stringContaining(message) }),
  );
});

test.each([
  ['', 'claw.json:1:1: found the end of the file'],
  ['// nothing', 'claw.json:1:11: found the end of the file'],
  ['{\n name: "a"\n lan: true }', 'claw.json:3:2: found unexpected token Identifier'],
  ['{ name: "a }\n', 'claw.json:1:9: found the start of a string'],
  [
    '{\n name: "a,\n lan: "b" }',
    'claw.json:2:8: found the start of a string, expected its closing quote on the same line',
  ],
  ['[1]', 'claw.json:1:1: expected an object in braces, found an array'],
  ['{} {}', 'claw.json:1:4: found unexpected token LBrace'],
  ['{ a: /* ', 'found the end of the file'],
  [`{ a: ${'['.repeat(65)}`, 'claw.json:1:69: found 65 levels of nesting, expected at most 64'],
])('%s is refused as syntax, with its place', (text, message) => {
  expect(() => readSettings(text, '/home')).toThrow(
    expect.objectContaining({ code: 'SETTINGS_SYNTAX', message: expect.stringContaining(message) }),
  );
});

test('a million brackets are refused without overflowing the stack', () => {
  expect(() => readSettings('['.repeat(1_000_000), '/h')).toThrow(expect.objectContaining({ code: 'SETTINGS_SYNTAX' }));
});

test('a line continuation in a string is JSON5 and stays allowed', () => {
  expect(readSettings("{ name: 'de\\\nsk' }", '/h').settings.name).toBe('desk');
  expect(readSettings("{ name: 'de\\\r\nsk' }", '/h').settings.name).toBe('desk');
});

test('bytes that are not UTF-8 text are refused with their place', async () => {
  await write(Buffer.from('{\n a: "\xff" }', 'latin1'));
  await expect(loadSettings(home)).rejects.toMatchObject({
    code: 'SETTINGS_SYNTAX',
    message: 'claw.json:2:6: found bytes that are not UTF-8',
  });
  await write(Buffer.from('{ a: 1 }', 'utf16le'));
  await expect(loadSettings(home)).rejects.toMatchObject({
    code: 'SETTINGS_SYNTAX',
    message: 'claw.json:1:2: found a NUL byte',
    hint: 'Save the file as UTF-8.',
  });
});

test('foreign root keys are warned of, with a guess where one is close, and their values are not judged', () => {
  const { warnings } = readSettings('{ relayz: [], gateway: { a: 1, a: 2, __proto__: 3 },\n  lam: true }', '/h');
  expect(warnings).toEqual([
    'claw.json:1:3: relayz: no setting of ours, left alone; did you mean "relays"?',
    'claw.json:1:15: gateway: no setting of ours, left alone',
    'claw.json:2:3: lam: no setting of ours, left alone; did you mean "lan"?',
  ]);
});

test('every fault is named, up to five', () => {
  const text = '{ name: 1, lan: 2, relays: 3, policy: 4, inbox: 5, services: 6, log: 7 }';
  expect(() => readSettings(text, '/h')).toThrow(/^(claw\.json:1:\d+: .*\n){5}claw\.json: 2 more$/);
});

test('a control character never reaches the message', () => {
  expect(() => readSettings('{ name: "\\u001b[2J" }', '/h')).toThrow(/found "\\u001b\[2J"/);
  expect(() => readSettings('{ services: { "\\u001b[2J": 1 } }', '/h')).toThrow(/services\.\?\[2J/);
});

test('a folder, a pipe, a loop of links and a file above 1 MiB are unreadable, and none hangs', async () => {
  const path = join(home, 'claw.json');
  await mkdir(path);
  await expect(loadSettings(home)).rejects.toMatchObject({ code: 'SETTINGS_UNREADABLE' });
  await rm(path, { recursive: true });
  execFileSync('mkfifo', [path]);
  await expect(loadSettings(home)).rejects.toMatchObject({
    code: 'SETTINGS_UNREADABLE',
    message: 'claw.json is not a regular file',
  });
  await rm(path);
  await symlink(path, path);
  await expect(loadSettings(home)).rejects.toMatchObject({ code: 'SETTINGS_UNREADABLE' });
  await rm(path);
  await write(`{}${' '.repeat(2 ** 20 - 2)}`);
  await loadSettings(home);
  await write(`{}${' '.repeat(2 ** 20 - 1)}`);
  await expect(loadSettings(home)).rejects.toMatchObject({
    code: 'SETTINGS_UNREADABLE',
    message: expect.stringContaining('1048576 bytes'),
  });
});

test('a file that others can read is warned of', async () => {
  await write('{}');
  await chmod(join(home, 'claw.json'), 0o644);
  expect((await loadSettings(home)).warnings).toEqual(['claw.json: other users can open it (mode 0644, better 0600)']);
});

test.each([
  ['my laptop!', 'my-laptop'],
  ['---', 'node'],
  ['', 'node'],
  ['x'.repeat(40), 'x'.repeat(32)],
  ['büro.local', 'b-ro.local'],
])('a host called %j becomes a node called %j', (host, name) => {
  expect(nameFrom(host)).toBe(name);
});

test('versions are ordered as semver.org §11 does', () => {
  const ordered = [
    '0.9.9',
    '1.0.0-alpha',
    '1.0.0-alpha.1',
    '1.0.0-alpha.beta',
    '1.0.0-beta',
    '1.0.0-beta.2',
    '1.0.0-beta.11',
    '1.0.0-rc.1',
    '1.0.0',
    '1.0.10',
    '1.1.0',
    '10.0.0',
  ];
  for (const [i, a] of ordered.entries()) {
    for (const [j, b] of ordered.entries())
      expect(Math.sign(compareVersions(a, b)), `${a} ? ${b}`).toBe(Math.sign(i - j));
  }
  expect(compareVersions('1.0.0+a', '1.0.0+b')).toBe(0);
  for (const bad of ['1', '1.2', '01.2.3', '1.2.3-', '1.2.3-01', 'v1.2.3', '1.2.3 ', ''])
    expect(isVersion(bad), bad).toBe(false);
});
