import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openSessionFile, readSession } from '../src/api/index.ts';

let home: string;
let path: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'claw-session-'));
  path = join(home, 'run', 'gateway.json');
});
afterEach(() => rm(home, { recursive: true, force: true }));

const session = { port: 4000, token: Buffer.alloc(32, 9), pid: process.pid, startedAt: 1, version: '1.0.0' };

test('a session is readable by its owner while it lasts, and gone after', async () => {
  const file = await openSessionFile(home, session);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect((await stat(join(home, 'run'))).mode & 0o777).toBe(0o700);
  expect(await readSession(home)).toEqual(session);
  await file[Symbol.asyncDispose]();
  await file[Symbol.asyncDispose]();
  await expect(readSession(home)).rejects.toMatchObject({ code: 'GATEWAY_UNREACHABLE', hint: 'Start the node first.' });
});

test('a later session is not removed by an earlier one', async () => {
  const earlier = await openSessionFile(home, session);
  await openSessionFile(home, { ...session, port: 4001 });
  await earlier[Symbol.asyncDispose]();
  expect((await readSession(home)).port).toBe(4001);
});

test('the file of a daemon that died is stale', async () => {
  const { pid } = spawnSync(process.execPath, ['-e', '']);
  await openSessionFile(home, { ...session, pid });
  await expect(readSession(home)).rejects.toMatchObject({
    code: 'GATEWAY_UNREACHABLE',
    message: expect.stringContaining(`process ${pid}`),
  });
});

test('what is no session is refused without showing it', async () => {
  await openSessionFile(home, session);
  const good = await readFile(path, 'utf8');
  const token = session.token.toString('base64url');
  for (const text of [
    '',
    '{',
    '[]',
    good.replace('4000', '0'),
    good.replace(token, token.slice(1)),
    good.replace(/"pid":\d+/, '"pid":-1'),
  ]) {
    await writeFile(path, text);
    const error = await readSession(home).catch((reason) => reason);
    expect(error).toMatchObject({ code: 'GATEWAY_UNREACHABLE' });
    expect(error.message).not.toContain(token);
  }
});

test('a short token is a mistake of the caller', async () => {
  await expect(openSessionFile(home, { ...session, token: Buffer.alloc(16) })).rejects.toThrow(RangeError);
});
