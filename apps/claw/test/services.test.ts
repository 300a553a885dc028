import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CLAW, eventually, type Machine, Machines } from './machines.ts';

const FILESYSTEM_SERVER = fileURLToPath(import.meta.resolve('@modelcontextprotocol/server-filesystem/dist/index.js'));
const machines = new Machines();
let lender: Machine;
let user: Machine;

beforeAll(async () => {
  ({ a: lender, b: user } = await machines.pair());
}, 60_000);
afterAll(() => machines[Symbol.asyncDispose]());

async function listen(server: ReturnType<typeof createServer> | ReturnType<typeof createHttpServer>): Promise<number> {
  server.listen(0, '127.0.0.1').unref();
  await once(server, 'listening');
  const address = server.address();
  return typeof address === 'object' && address ? address.port : 0;
}

describe('claw share and claw use', () => {
  it('carry a TCP service, list it on both sides, and end with --stop and unshare', async () => {
    const port = await listen(createServer((socket) => void socket.pipe(socket)));
    const shared = await lender.ok('share', 'echo', '--tcp', `127.0.0.1:${port}`, '--to', 'b');
    expect(shared).toEqual({
      name: 'echo',
      kind: 'tcp',
      target: `127.0.0.1:${port}`,
      to: [{ name: 'b', nodeId: expect.any(String) }],
      openStreams: 0,
      served: 0,
    });
    expect(await user.ok('use', 'a')).toEqual([{ name: 'echo', kind: 'tcp' }]);
    const forward = await user.ok('use', 'a/echo');
    expect(forward).toEqual({
      peer: 'a',
      service: 'echo',
      kind: 'tcp',
      url: `127.0.0.1:${forward.port}`,
      host: '127.0.0.1',
      port: expect.any(Number),
      connections: 0,
      carried: 0,
    });
    const socket = connect(forward.port, '127.0.0.1');
    socket.write('hello');
    expect(String((await once(socket, 'data'))[0])).toBe('hello');
    expect(await user.ok('use')).toEqual([{ ...forward, connections: 1, carried: 1 }]);
    expect(await lender.ok('share')).toEqual([{ ...shared, openStreams: 1, served: 1 }]);
    const closed = new Promise((resolve) => socket.on('error', () => {}).once('close', resolve));
    expect(await lender.ok('unshare', 'echo')).toEqual({ unshared: 'echo' });
    await closed;
    expect(await user.ok('use', 'a')).toEqual([]);
    expect(await user.ok('use', 'a/echo', '--stop')).toEqual({ closed: 'a/echo' });
    const twice = await user.claw(['use', 'a/echo', '--stop']);
    expect([twice.code, twice.json.error.code]).toEqual([4, 'FORWARD_UNKNOWN']);
  });

  it('carry an HTTP service on a port of choice', async () => {
    const port = await listen(
      createHttpServer((request, response) =>
        response.end(`${String(request.headers['x-claw-peer'])} asked for ${request.url}`),
      ),
    );
    await lender.ok('share', 'web', '--http', `http://127.0.0.1:${port}`, '--to', 'b');
    const free = createServer();
    const listen127 = await listen(free);
    const taken = await user.claw(['use', 'a/web', '--listen', `127.0.0.1:${listen127}`]);
    expect([taken.code, taken.json.error.code]).toEqual([1, 'FORWARD_PORT_TAKEN']);
    await new Promise((resolve) => free.close(resolve));
    const forward = await user.ok('use', 'a/web', '--listen', `127.0.0.1:${listen127}`);
    expect(forward.url).toBe(`http://127.0.0.1:${listen127}/`);
    expect(await fetch(`${forward.url}x?y`).then((answer) => answer.text())).toBe('b asked for /x?y');
    const everywhere = await user.claw(['use', 'a/web', '--listen', '0.0.0.0:0']);
    expect([everywhere.code, everywhere.json.error.code]).toEqual([7, 'SERVICE_INVALID']);
  });

  it('carry a folder', async () => {
    const folder = join(lender.home, '../notes');
    mkdirSync(folder);
    writeFileSync(join(folder, 'a?b#c%.txt'), 'odd');
    await lender.ok('share', 'notes', '--files', folder, '--to', 'b');
    const { url } = await user.ok('use', 'a/notes');
    const { entries } = await fetch(url, { headers: { accept: 'application/json' } }).then(
      (answer) => answer.json() as Promise<{ entries: { name: string }[] }>,
    );
    expect(entries.map(({ name }) => name)).toEqual(['a?b#c%.txt']);
    expect(await fetch(new URL(encodeURIComponent('a?b#c%.txt'), url)).then((answer) => answer.text())).toBe('odd');
  });

  it('lend nothing to a peer that is not named', async () => {
    const made = await lender.ok('share', 'private', '--tcp', '127.0.0.1:1');
    expect(made.to).toEqual([]);
    const refused = await user.claw(['use', 'a/private']);
    expect([refused.code, refused.json.error.code]).toEqual([4, 'SERVICE_UNKNOWN']);
    const direct = await user.claw(['mcp', 'a/private']);
    expect([direct.code, direct.json.error.code]).toEqual([5, 'STREAM_NOT_GRANTED']);
    expect(await lender.ok('share', 'private', '--to', 'b')).toMatchObject({ kind: 'tcp', to: [{ name: 'b' }] });
    const dead = await user.claw(['mcp', 'a/private']);
    expect([dead.code, dead.json.error.code]).toEqual([6, 'STREAM_TARGET_FAILED']);
  });
});

describe('claw mcp', () => {
  it('is a stdio server to an MCP client, whose tools run on the other machine', async () => {
    const folder = join(lender.home, '../mcp notes');
    mkdirSync(folder);
    writeFileSync(join(folder, 'hello.txt'), 'hello from a');
    await lender.ok('share', 'files', '--mcp', `"${process.execPath}" "${FILESYSTEM_SERVER}" "${folder}"`, '--to', 'b');
    const transport = new StdioClientTransport({
      command: process.execPath,
      args: [CLAW, 'mcp', '--home', user.home, 'a/files'],
      stderr: 'pipe',
    });
    const client = new Client({ name: 'test', version: '1' });
    await client.connect(transport);
    expect((await client.listTools()).tools.length).toBeGreaterThan(5);
    const read = await client.callTool({ name: 'read_text_file', arguments: { path: join(folder, 'hello.txt') } });
    expect(read.content).toMatchObject([{ text: 'hello from a' }]);
    await client.close();
    await eventually(
      async () =>
        (await lender.api('GET', '/v1/shares')).every((share: { openStreams: number }) => share.openStreams === 0) ||
        undefined,
      () => 'the server to end',
    );
    const used = await user.claw(['use', 'a/files']);
    expect([used.code, used.json.error.code]).toEqual([7, 'SERVICE_KIND']);
  });
});

describe('claw send', () => {
  it('delivers several files, and tells what was stored under which name', async () => {
    const bytes = randomBytes(2_000_000);
    writeFileSync(join(user.home, '../one.bin'), bytes);
    writeFileSync(join(user.home, '../.two'), '');
    const result = await user.claw(['send', 'a', '../one.bin', '../.two'], { cwd: user.home });
    const sha256 = (data: Uint8Array) => createHash('sha256').update(data).digest('hex');
    expect(result.json).toEqual({
      peer: 'a',
      files: [
        { name: 'one.bin', size: 2_000_000, sha256: sha256(bytes), storedAs: 'one.bin', resumedAt: 0 },
        { name: '.two', size: 0, sha256: sha256(Buffer.alloc(0)), storedAs: '_two', resumedAt: 0 },
      ],
    });
    expect(readFileSync(join(lender.home, 'inbox/b/one.bin')).equals(bytes)).toBe(true);
  });

  it('tells in one document which file failed and which had arrived', async () => {
    const result = await user.claw(['send', 'a', '../one.bin', 'nowhere', '../.two'], { cwd: user.home });
    expect(result.code).toBe(7);
    expect(result.json).toEqual({
      error: expect.objectContaining({ code: 'SEND_FILE_UNREADABLE' }),
      peer: 'a',
      failed: 'nowhere',
      files: [expect.objectContaining({ storedAs: 'one (2).bin' })],
    });
  });
});
