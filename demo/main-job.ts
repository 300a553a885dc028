/**
 * The main job, on one machine and on real parts: two nodes pair by an invite;
 * A lends a real MCP server over a folder and an HTTP service; B's MCP client
 * reads files through the link and downloads 256 MiB; then what was measured.
 */

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { inboundPorts } from './open-ports.ts';
import { report, type Status } from './report.ts';
import { Stage } from './stage.ts';

const DOWNLOAD_BYTES = 256 * 1024 * 1024;
const MCP_SERVER = fileURLToPath(import.meta.resolve('@modelcontextprotocol/server-filesystem/dist/index.js'));

const interrupt = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.on(signal, () => interrupt.abort(new Error('interrupted')));

const started = performance.now();
const stage = await Stage.open(interrupt.signal);
try {
  await mainJob();
} catch (error) {
  process.exitCode = interrupt.signal.aborted ? 130 : 1;
  const text = error instanceof Error ? error.message : String(error);
  console.error(interrupt.signal.aborted ? '\nInterrupted; cleaning up.' : `\nThe main job failed: ${text}`);
} finally {
  await stage.close();
}
process.exit();

async function mainJob(): Promise<void> {
  console.log(`OpenClaw's main job: ${stage.world.description}.\n`);
  const relayUrl = await stage.startRelay();
  step(`relay up at ${relayUrl}`);
  const nodes = [await stage.claw<Up>('a', ['up']), await stage.claw<Up>('b', ['up'])];
  step(`nodes A and B up in ${nodes.map((node) => node.readyMs).join(' and ')} ms`);

  const words = await pair(relayUrl);
  step(`paired by invite; both sides show "${words}"`);

  const docs = join(stage.folder, 'docs');
  const service = await lend(docs);
  step('A lends to B: an MCP server over a folder, an HTTP service');

  const mcp = await useMcp(docs);
  step(`B's MCP client found ${mcp.tools} tools and read ${mcp.files} files in ${mcp.ms.toFixed(0)} ms: "${mcp.line}"`);

  const { url } = await stage.claw<{ url: string }>('b', ['use', 'cloud/models']);
  const download = await downloadFrom(`${url}file`);
  if (download.sha256 !== service.sha256 || download.done !== DOWNLOAD_BYTES)
    throw new Error('what arrived is not what was sent');
  step(
    `B downloaded ${DOWNLOAD_BYTES / 2 ** 20} MiB through the HTTP share in ${(download.ms / 1000).toFixed(1)} s, SHA-256 right`,
  );

  const { roundTripsMs } = await stage.claw<{ roundTripsMs: number[] }>('b', ['ping', 'cloud', '--count', '20']);
  const status = [await stage.claw<Status>('a', ['status']), await stage.claw<Status>('b', ['status'])];
  const ports = nodes.map((node) => inboundPorts(node.pid));
  await stage.stopNodes();
  const relay = await stage.stopRelay();
  console.log(
    `\n${report({
      readyMs: nodes.map((node) => node.readyMs),
      status,
      roundTripsMs,
      download: { bytes: download.done, ms: download.ms },
      relay,
      inboundPorts: ports.includes(undefined) ? undefined : ports.flatMap((list) => list ?? []),
      totalMs: performance.now() - started,
    })}`,
  );
}

interface Up {
  readonly pid: number;
  readonly readyMs: number;
}

async function pair(relayUrl: string): Promise<string> {
  const { invite } = await stage.claw<{ invite: string }>('a', [
    'pair',
    '--new',
    '--name',
    'laptop',
    '--relay',
    relayUrl,
  ]);
  const peer = await stage.claw<{ words: string }>('b', ['pair', '-', '--name', 'cloud'], invite);
  const [seenByA] = await stage.claw<{ words: string }[]>('a', ['peers']);
  if (seenByA?.words !== peer.words) throw new Error('the two sides show different verification words');
  return peer.words;
}

async function lend(docs: string): Promise<{ port: number; sha256: string }> {
  await mkdir(docs);
  await writeFile(join(docs, 'plan.md'), '# Plan\n\nThe agent in the cloud reads this file of the laptop.\n');
  await writeFile(join(docs, 'numbers.csv'), 'month,value\n1,10\n2,20\n');
  await stage.claw('a', [
    'share',
    'files',
    '--mcp',
    `"${process.execPath}" "${MCP_SERVER}" "${docs}"`,
    '--to',
    'laptop',
  ]);
  let service: { port: number; sha256: string } | undefined;
  for await (const line of stage.lines('a', 'http-service.ts', String(DOWNLOAD_BYTES))) {
    service = JSON.parse(line) as { port: number; sha256: string };
    break;
  }
  if (!service) throw new Error('the HTTP service did not start');
  await stage.claw('a', ['share', 'models', '--http', `http://127.0.0.1:${service.port}`, '--to', 'laptop']);
  return service;
}

/** B's MCP client starts `claw mcp`, as any MCP client would. */
async function useMcp(docs: string): Promise<{ tools: number; files: number; ms: number; line: string }> {
  const [command = '', ...args] = stage.commandLine('b', ['mcp', 'cloud/files']);
  const client = new Client({ name: 'main-job', version: '1.0.0' });
  const began = performance.now();
  await client.connect(new StdioClientTransport({ command, args, stderr: 'inherit' }), { signal: interrupt.signal });
  try {
    const call = async (name: string, path: string) => textOf(await client.callTool({ name, arguments: { path } }));
    const { tools } = await client.listTools();
    const names = [...(await call('list_directory', docs)).matchAll(/\[FILE\] (.+)/g)].map(
      (match) => match[1] as string,
    );
    const texts: string[] = [];
    for (const name of names) texts.push(await call('read_text_file', join(docs, name)));
    const plan = texts.find((text) => text.startsWith('# Plan'));
    if (names.length !== 2 || plan === undefined)
      throw new Error(`the MCP server listed ${names.length} files, not the two that are there`);
    return { tools: tools.length, files: texts.length, ms: performance.now() - began, line: plan.split('\n')[2] ?? '' };
  } finally {
    await client.close();
  }
}

function textOf(result: unknown): string {
  const { content = [] } = result as { content?: { text?: string }[] };
  return content.map((part) => part.text ?? '').join('');
}

async function downloadFrom(url: string): Promise<{ done: number; ms: number; sha256: string }> {
  let last: { done: number; total: number; ms?: number; sha256?: string } | undefined;
  for await (const line of stage.lines('b', 'download.ts', url)) {
    last = JSON.parse(line) as NonNullable<typeof last>;
    showProgress(last.done / last.total);
  }
  showProgress(undefined);
  interrupt.signal.throwIfAborted();
  if (last?.ms === undefined || last.sha256 === undefined) throw new Error('the download broke off');
  return { done: last.done, ms: last.ms, sha256: last.sha256 };
}

function showProgress(share: number | undefined): void {
  if (!process.stderr.isTTY) return;
  const bar =
    share === undefined
      ? ''
      : `  downloading  ${'█'.repeat(Math.round(share * 30)).padEnd(30, '░')}  ${(share * 100).toFixed(0)} %`;
  process.stderr.write(`\r\u001b[2K${bar}`);
}

function step(text: string): void {
  console.log(`  ✓ ${text}`);
}
