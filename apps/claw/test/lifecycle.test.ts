import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { isAlive } from '../src/is-alive.ts';
import { eventually, kill, Machines } from './machines.ts';

const machines = new Machines();
afterEach(() => machines.end());
afterAll(() => machines[Symbol.asyncDispose]());

const NODE_ID = expect.stringMatching(/^[a-z2-7]{52}$/);

describe('claw', () => {
  it('tells of itself in stable fields, from up to down', async () => {
    const machine = machines.make('one');
    expect(await machine.ok('up')).toEqual({
      state: 'started',
      nodeId: NODE_ID,
      pid: expect.any(Number),
      port: expect.any(Number),
      home: machine.home,
      readyMs: expect.any(Number),
    });
    const { pid } = machine;
    expect(await machine.ok('up')).toEqual({ state: 'running', nodeId: NODE_ID, pid, home: machine.home });
    expect(await machine.ok('status')).toEqual({
      name: 'one',
      nodeId: NODE_ID,
      version: expect.stringMatching(/^\d+\.\d+\.\d+/),
      integrity: expect.stringMatching(/^[0-9a-f]{64}$/),
      pid,
      home: machine.home,
      uptimeMs: expect.any(Number),
      engine: 'claw webrtc',
      memory: { rssBytes: expect.any(Number) },
      key: { protection: 'none', confined: expect.any(Boolean), detail: expect.any(String), pid: expect.any(Number) },
      carriers: [],
      peers: [],
      shares: [],
      forwards: [],
      settings: { warnings: [], error: null },
    });
    expect(await machine.ok('peers')).toEqual([]);
    expect(await machine.ok('share')).toEqual([]);
    expect(await machine.ok('use')).toEqual([]);
    const logged = await machine.ok('logs', '-n', '1');
    expect(logged).toEqual([
      {
        time: expect.any(String),
        level: 'info',
        event: 'node.ready',
        id: NODE_ID,
        port: expect.any(Number),
        version: expect.any(String),
      },
    ]);
    expect(await machine.ok('logs', '-n', '0')).toEqual([]);
    const doctor = await machine.claw(['doctor']);
    expect([doctor.code, doctor.json.state]).toEqual([1, 'fail']); // no carrier is on
    expect(doctor.json.checks).toContainEqual({
      name: 'signaling',
      state: 'fail',
      detail: expect.any(String),
      fix: expect.stringContaining('claw relay'),
    });
    expect(await machine.ok('down')).toEqual({ state: 'stopped', pid });
    expect(isAlive(pid)).toBe(false);
    expect(await machine.ok('down')).toEqual({ state: 'stopped', pid: null });
    const stopped = await machine.claw(['status']);
    expect([stopped.code, stopped.json]).toEqual([3, { state: 'stopped', home: machine.home }]);
  });

  it('tells version and integrity without a node', async () => {
    const machine = machines.make('none', null);
    expect(await machine.ok('version')).toEqual({
      version: expect.any(String),
      integrity: expect.stringMatching(/^[0-9a-f]{64}$/),
      node: process.version,
      platform: `${process.platform} ${process.arch}`,
    });
    expect(machine.pid).toBe(0);
  });

  it('starts the node by itself when a verb needs it, and says so on stderr only', async () => {
    const machine = machines.make('lazy');
    const result = await machine.claw(['peers']);
    expect([result.code, result.json]).toEqual([0, []]);
    expect(result.stderr).toMatch(/Started the node \(process \d+\)/);
    expect(isAlive(machine.pid)).toBe(true);
  });

  it('starts one node when several commands come at once', async () => {
    const machine = machines.make('many');
    const results = await Promise.all([machine.claw(['up']), machine.claw(['up']), machine.claw(['peers'])]);
    expect(results.map(({ code, stderr }) => [code, stderr.replace(/Started.*\n/, '')])).toEqual([
      [0, ''],
      [0, ''],
      [0, ''],
    ]);
    expect(new Set(results.slice(0, 2).map(({ json }) => json.pid))).toEqual(new Set([machine.pid]));
    expect(machine.log().filter(({ event }) => event === 'node.ready')).toHaveLength(1);
  });

  it('starts a node after a crash, though the session file is still there and its process id is another’s', async () => {
    const machine = machines.make('crashed');
    await machine.ok('up');
    const path = join(machine.home, 'run/gateway.json');
    const session = JSON.parse(readFileSync(path, 'utf8'));
    kill(machine.pid, 'SIGKILL');
    await eventually(
      () => !isAlive(session.pid) || undefined,
      () => 'the daemon to end',
    );
    writeFileSync(path, JSON.stringify({ ...session, pid: process.pid }));
    expect((await machine.claw(['status'])).code).toBe(3);
    expect(await machine.ok('up')).toMatchObject({ state: 'started' });
  });

  it('runs in the foreground until it is asked to stop', async () => {
    const machine = machines.make('front');
    const node = machine.start(['up', '--foreground', '--json']);
    await node.said(/"state": "started"/);
    expect((await machine.ok('status')).pid).toBe(node.process.pid);
    expect(await node.end('SIGTERM')).toBe(0);
    expect(existsSync(join(machine.home, 'run/gateway.json'))).toBe(false);
  });

  it('ends cleanly, with a line in its log, when its key holder is killed', async () => {
    const machine = machines.make('keyless');
    await machine.ok('up');
    const { key, pid } = await machine.ok('status');
    kill(key.pid, 'SIGKILL');
    await eventually(
      () => !isAlive(pid) || undefined,
      () => 'the daemon to end',
    );
    expect(machine.log().map(({ event }) => event)).toEqual(['node.ready', 'node.fatal', 'node.stopped']);
    expect(existsSync(join(machine.home, 'run/gateway.json'))).toBe(false);
    expect(await machine.ok('up')).toMatchObject({ state: 'started' });
  });

  it('never touches openclaw.json, and keeps its own files private', async () => {
    const machine = machines.make('neighbour');
    const path = join(machine.home, 'openclaw.json');
    writeFileSync(path, `{ // another program's\n  "${randomUUID()}": 1,\n}`, { mode: 0o644 });
    const before = { text: readFileSync(path, 'utf8'), stat: statSync(path, { bigint: true }) };
    await machine.ok('up');
    await machine.ok('share', 'web', '--http', 'http://127.0.0.1:1');
    await machine.ok('down');
    const after = { text: readFileSync(path, 'utf8'), stat: statSync(path, { bigint: true }) };
    expect({ ...after, stat: [after.stat.ino, after.stat.mtimeNs, after.stat.mode] }).toEqual({
      ...before,
      stat: [before.stat.ino, before.stat.mtimeNs, before.stat.mode],
    });
    expect(after.stat.atimeNs).toBeLessThanOrEqual(
      before.stat.atimeNs > after.stat.mtimeNs ? before.stat.atimeNs : after.stat.atimeNs,
    );
    for (const file of ['claw.json', 'node-key.json', 'logs/claw.log']) {
      expect([file, statSync(join(machine.home, file)).mode & 0o077]).toEqual([file, 0]);
    }
  });
});

describe('a mistake on the command line', () => {
  it.each([
    [['frobnicate'], 2, 'USAGE', 'unknown command'],
    [['status', '--frob'], 2, 'USAGE', 'unknown option'],
    [['status', 'extra'], 2, 'USAGE', 'too many arguments'],
    [['send'], 2, 'USAGE', 'missing required argument'],
    [['logs', '-n', 'x'], 2, 'USAGE', 'whole number'],
    [['up', '--protect', 'hope'], 2, 'USAGE', 'Allowed choices'],
    [['pair'], 2, 'USAGE', '--new'],
    [['pair', '--new', '--by-hand'], 2, 'USAGE', '--by-hand'],
    [['share', 'x', '--tcp', 'a:1', '--http', 'http://a'], 2, 'USAGE', 'one of'],
    [['share', 'x', '--mcp', '"open'], 7, 'SERVICE_INVALID', 'not closed'],
    [['mcp', 'noslash'], 2, 'USAGE', 'PEER/NAME'],
    [['relay', '--listen', 'nowhere'], 2, 'USAGE', 'HOST:PORT'],
  ])('%j ends with %d, %s and one document', async (args, code, name, message) => {
    const machine = machines.make('wrong', null);
    const result = await machine.claw(args);
    expect(result.code).toBe(code);
    expect(result.json).toEqual({
      error: expect.objectContaining({ code: name, message: expect.stringContaining(message) }),
    });
    kill(machine.pid, 'SIGTERM');
  });

  it('is told by the node in one document too', async () => {
    const machine = machines.make('told');
    await machine.ok('up');
    const cases: [string[], number, string][] = [
      [['ping', 'nobody'], 4, 'PEER_UNKNOWN'],
      [['unpair', 'nobody'], 4, 'PEER_UNKNOWN'],
      [['unshare', 'nothing'], 4, 'SERVICE_UNKNOWN'],
      [['share', 'nothing'], 4, 'SERVICE_UNKNOWN'],
      [['share', 'Bad Name', '--tcp', 'a:1'], 7, 'SETTINGS_INVALID'],
      [['share', 'ok', '--tcp', 'no port'], 7, 'SETTINGS_INVALID'],
      [['pair', 'hello'], 7, 'PAIR_INVITE_INVALID'],
      [['pair', 'CLAW:ABC'], 7, 'PAIR_INVITE_ALTERED'],
      [['pair', '--new', '--name', 'bad name'], 2, 'REQUEST_INVALID'],
      [['pair', '--new', '--relay', 'http://x'], 7, 'RELAY_URL_INVALID'],
    ];
    const results = await Promise.all(cases.map(([args]) => machine.claw(args)));
    expect(results.map((result, index) => [cases[index]?.[0], result.code, result.json.error.code])).toEqual(cases);
  });
});

describe('claw.json', () => {
  it('that is broken keeps the node from starting, with line and column, and stays as it is', async () => {
    const machine = machines.make('broken', null);
    const path = join(machine.home, 'claw.json');
    const text = '{\n  // mine\n  "name": "x",\n  "lan": maybe\n}\n';
    writeFileSync(path, text, { mode: 0o600 });
    const result = await machine.claw(['up']);
    expect([result.code, result.json.error.code]).toEqual([7, 'SETTINGS_SYNTAX']);
    expect(result.json.error.message).toMatch(/^claw\.json:4:10: /);
    const doctor = await machine.claw(['doctor']);
    expect(doctor.json.checks).toContainEqual(expect.objectContaining({ name: 'settings', state: 'fail' }));
    expect(readFileSync(path, 'utf8')).toBe(text);
  });

  it('that breaks while the node runs leaves the settings in force, and status says where', async () => {
    const machine = machines.make('breaking');
    await machine.ok('share', 'web', '--http', 'http://127.0.0.1:1');
    const path = join(machine.home, 'claw.json');
    const broken = readFileSync(path, 'utf8').replace('"services"', '"servicez"');
    writeFileSync(path, broken);
    const error = await eventually(
      async () =>
        (await machine.api('GET', '/v1/status')).settings.error ??
        (await machine.api('GET', '/v1/status')).settings.warnings[0],
      () => 'the settings’ fault',
    );
    expect(error).toMatch(/^claw\.json:\d+:\d+: /);
    writeFileSync(path, '{ "services": ');
    await eventually(
      async () => (await machine.api('GET', '/v1/status')).settings.error ?? undefined,
      () => 'the settings’ fault',
    );
    const failed = await machine.claw(['share', 'more', '--http', 'http://127.0.0.1:2']);
    expect(failed.code).toBe(7);
    expect(readFileSync(path, 'utf8')).toBe('{ "services": ');
    expect((await machine.claw(['status'])).code).toBe(0);
  });

  it('sets the level of the log', async () => {
    const machine = machines.make('quiet', { log: { level: 'error' } });
    await machine.ok('up');
    expect(await machine.ok('logs')).toEqual([]);
  });
});

describe('a key under a passphrase', () => {
  it('opens with the file in CLAW_PASSPHRASE_FILE, and with nothing else', async () => {
    const machine = machines.make('locked');
    const file = join(machine.home, 'passphrase');
    writeFileSync(file, 'correct horse\n', { mode: 0o600 });
    const env = { CLAW_PASSPHRASE_FILE: file };
    const first = await machine.claw(['up'], { env });
    expect(first.code).toBe(0);
    expect((await machine.ok('status')).key.protection).toBe('passphrase');
    await machine.ok('down');
    const without = await machine.claw(['up']);
    expect([without.code, without.json.error.code]).toEqual([7, 'KEY_PASSPHRASE_REQUIRED']);
    writeFileSync(file, 'wrong');
    const wrong = await machine.claw(['peers'], { env });
    expect([wrong.code, wrong.json.error.code]).toEqual([7, expect.stringMatching(/^KEY_/)]);
    expect((await machine.claw(['up'], { env: { CLAW_PASSPHRASE_FILE: '/nowhere' } })).json.error.code).toBe(
      'KEY_PASSPHRASE_REQUIRED',
    );
    writeFileSync(file, 'correct horse');
    expect((await machine.claw(['up'], { env })).json.nodeId).toBe(first.json.nodeId);
  });
});
