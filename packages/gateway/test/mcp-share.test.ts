import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { duplexPair } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { createLogger, silentLogger } from '@claw/base';
import type { LinkStream } from '@claw/link';
import { temporaryDirectory, until } from '@claw/testkit';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { ReadBuffer, serializeMessage } from '@modelcontextprotocol/sdk/shared/stdio.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { afterEach, describe, expect, it } from 'vitest';
import { McpShare } from '../src/services/mcp-share.ts';
import { failureOf, readAll } from './node-pair.ts';

const FILESYSTEM_SERVER = fileURLToPath(import.meta.resolve('@modelcontextprotocol/server-filesystem/dist/index.js'));
const shares: McpShare[] = [];
const log: { line: string }[] = [];
const logger = createLogger({ write: (line) => log.push(JSON.parse(line)) });

afterEach(async () => {
  await Promise.all(shares.splice(0).map((share) => share.close()));
  log.length = 0;
});

/** A stream on a share of the program `script`, run by this Node.js. */
function openScript(script: string): { stream: Duplex; served: Promise<void> } {
  return open([process.execPath, '-e', script]);
}

function open(
  command: string[],
  share = new McpShare(command),
): { stream: Duplex; served: Promise<void>; share: McpShare } {
  shares.push(share);
  const [stream, far] = duplexPair();
  stream.on('error', () => {});
  far.on('error', () => {});
  const served = share.serve(() => far as LinkStream, { name: 'test', peer: 'laptop', logger });
  served.catch(() => {});
  return { stream, served, share };
}

/** The first line that the server says: its process id and those of its children. */
async function readPids(stream: Duplex): Promise<number[]> {
  let text = '';
  while (!text.includes('\n')) text += String((await once(stream, 'data'))[0]);
  return JSON.parse(text.split('\n')[0] as string) as number[];
}

/** A zombie that nobody reaps counts as gone. */
function runs(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

const allGone = (pids: readonly number[]) => until(() => !pids.some(runs), `processes ${pids.join()} to end`);

class StreamTransport implements Transport {
  onclose?: () => void;
  onmessage?: Transport['onmessage'];
  readonly #stream: Duplex;
  readonly #buffer = new ReadBuffer();

  constructor(stream: Duplex) {
    this.#stream = stream;
  }

  async start(): Promise<void> {
    this.#stream.on('data', (chunk: Buffer) => {
      this.#buffer.append(chunk);
      for (let message = this.#buffer.readMessage(); message; message = this.#buffer.readMessage())
        this.onmessage?.(message);
    });
    this.#stream.on('close', () => this.onclose?.());
  }

  async send(message: Parameters<typeof serializeMessage>[0]): Promise<void> {
    this.#stream.write(serializeMessage(message));
  }

  async close(): Promise<void> {
    this.#stream.end();
  }
}

const CHILD =
  "const child = require('node:child_process').spawn(process.execPath, ['-e', `process.on('SIGTERM', () => {}); setInterval(() => {}, 1000); console.log('up')`], { stdio: ['ignore', 'pipe', 'ignore'] });";
const TELL = "child.stdout.once('data', () => console.log(JSON.stringify([process.pid, child.pid])));";

describe('mcp share', () => {
  it('lets a client use the real filesystem server, and ends it when the client is done', async () => {
    using directory = temporaryDirectory();
    mkdirSync(join(directory.path, 'notes'));
    writeFileSync(join(directory.path, 'notes/hello.txt'), 'hello from afar');
    const { stream, served } = open([process.execPath, FILESYSTEM_SERVER, directory.path]);
    const client = new Client({ name: 'test', version: '1' });
    await client.connect(new StreamTransport(stream));
    expect((await client.listTools()).tools.map(({ name }) => name)).toContain('read_text_file');
    const read = await client.callTool({
      name: 'read_text_file',
      arguments: { path: join(directory.path, 'notes/hello.txt') },
    });
    expect(read.content).toMatchObject([{ type: 'text', text: 'hello from afar' }]);
    await client.close();
    await served;
  });

  it('delivers what a dying server said last, then the end', async () => {
    const { stream, served } = openScript("process.stdout.write('x'.repeat(200000) + 'last'); process.exitCode = 3");
    stream.write('a request that nobody reads\n');
    const text = String(await readAll(stream));
    expect([text.length, text.slice(-4)]).toEqual([200_004, 'last']);
    stream.end();
    await served;
  });

  it('takes the children of the server along when the server ends by itself', async () => {
    const { stream, served } = openScript(`${CHILD}${TELL} process.stdin.once('data', () => process.exit(0)); `);
    const pids = await readPids(stream);
    stream.write('end\n');
    await allGone(pids);
    stream.resume().end();
    await served;
  });

  it('takes the children of the server along when the peer hangs up', async () => {
    const { stream, served } = openScript(`${CHILD}${TELL} process.stdin.on('end', () => process.exit(0)).resume();`);
    const pids = await readPids(stream);
    stream.resume().end();
    await served;
    await allGone(pids);
  });

  it('kills a server that ignores its stdin and SIGTERM', async () => {
    const { stream, served } = openScript(
      `process.on('SIGTERM', () => {}); setInterval(() => {}, 1000); ${CHILD}${TELL}`,
    );
    const pids = await readPids(stream);
    stream.resume().end();
    await served;
    await allGone(pids);
  });

  it('ends at once what it still serves when the share is closed', async () => {
    const { stream, share } = {
      ...open([
        process.execPath,
        '-e',
        `${CHILD.replace("process.on('SIGTERM', () => {});", '')}${TELL} setInterval(() => {}, 1000);`,
      ]),
    };
    const pids = await readPids(stream);
    const started = performance.now();
    await share.close();
    expect(performance.now() - started).toBeLessThan(5000);
    await allGone(pids);
  });

  it('keeps a flood of stderr short, line by line and in number', async () => {
    const flood =
      "for (let n = 0; n < 5000; n += 1) process.stderr.write('line ' + n + ' ' + 'y'.repeat(2000) + '\\n'); process.stderr.write('z'.repeat(5e6)); console.log('done')";
    const { stream, served } = openScript(flood);
    expect(String(await readAll(stream))).toBe('done\n');
    stream.end();
    await served;
    expect(log.length).toBeGreaterThan(0);
    expect(log.length).toBeLessThan(200);
    expect(Math.max(...log.map(({ line }) => line.length))).toBeLessThanOrEqual(500);
  });

  it('refuses the stream when the program does not exist', async () => {
    const { served } = open(['/no/such/program']);
    expect((await failureOf(() => served)).code).toBe('ENOENT');
  });

  it('runs at most 32 servers at once', async () => {
    const share = new McpShare(['cat']);
    const streams = Array.from({ length: 32 }, () => open([], share));
    const [first] = streams;
    first?.stream.write('x');
    await once(first?.stream as Duplex, 'data');
    const [, far] = duplexPair();
    const late = share.serve(() => far as LinkStream, { name: 'test', peer: 'laptop', logger: silentLogger });
    expect((await failureOf(() => late)).message).toContain('32 servers');
    for (const { stream } of streams) stream.resume().end();
    await Promise.all(streams.map(({ served }) => served));
  });
});
