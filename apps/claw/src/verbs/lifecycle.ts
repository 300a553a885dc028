/** up, down, logs, version: the daemon's life. */

import { createReadStream, existsSync, watch } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { ClawError, createLogger, isClawError } from '@claw/base';
import type { StatusView } from '@claw/gateway';
import { type KeyUnlock, measureRuntime } from '@claw/identity';
import { Command, Option } from 'commander';
import type { Context } from '../context.ts';
import { logLevel, logPath } from '../daemon/log-file.ts';
import { startDaemon } from '../daemon/start.ts';
import { isAlive } from '../is-alive.ts';
import { NodeClient } from '../node-client.ts';
import { askPassphrase, readPassphraseFile } from '../passphrase.ts';
import { type AddVerb, wholeNumber } from '../verb.ts';

/** Longer than the daemon gives itself. */
const STOP_DEADLINE_MS = 15_000;

export function registerLifecycle(addVerb: AddVerb): void {
  addVerb(
    new Command('up')
      .description('start the node in the background')
      .option('--foreground', 'stay in the foreground and log to stderr (for service managers)')
      .addOption(
        new Option('--protect <how>', 'encrypt the node key under a passphrase or the system’s keyring').choices([
          'passphrase',
          'keyring',
        ]),
      ),
    up,
  );
  addVerb(new Command('down').description('stop the node; peers are told'), down);
  addVerb(
    new Command('logs')
      .description('show what the node logged')
      .option('-n, --lines <count>', 'how many lines', wholeNumber, 50)
      .option('-f, --follow', 'go on as lines are written'),
    logs,
  );
  addVerb(new Command('version').description('show version and integrity hash'), version);
}

async function up(
  context: Context,
  options: { foreground?: boolean; protect?: 'passphrase' | 'keyring' },
): Promise<void> {
  const { out, home } = context;
  const running = options.foreground ? undefined : await context.running();
  if (running) return showRunning(context, running);
  const unlock = await chooseUnlock(context, options.protect);
  if (options.foreground) return runInForeground(context, unlock);
  const started = await startAsking(context, unlock).catch((error: unknown) => context.daemonOfAnother(error));
  if (started instanceof NodeClient) return showRunning(context, started);
  const document = {
    state: 'started',
    nodeId: started.nodeId,
    pid: started.pid,
    port: started.port,
    home,
    readyMs: Math.round(started.readyMs),
  };
  out.result(
    document,
    `The node is up: ${started.nodeId}\nprocess ${started.pid}, ready in ${Math.round(started.readyMs)} ms, home ${home}`,
  );
}

async function showRunning({ out, home }: Context, daemon: NodeClient): Promise<void> {
  const { nodeId, pid } = await daemon.request<StatusView>('GET', '/v1/status');
  out.result({ state: 'running', nodeId, pid, home }, `The node runs already (process ${pid}).`);
}

async function chooseUnlock({ signal }: Context, protect: 'passphrase' | 'keyring' | undefined): Promise<KeyUnlock> {
  if (protect === 'keyring') return { protection: 'keyring' };
  const given = readPassphraseFile();
  if (given || protect === undefined) return given ?? { protection: 'none' };
  for (;;) {
    const passphrase = await askPassphrase('New passphrase for the node key: ', signal);
    const again = await askPassphrase('Once more: ', signal);
    if (passphrase !== '' && passphrase === again) return { protection: 'passphrase', passphrase };
    process.stderr.write('They differ, or are empty. Again.\n');
  }
}

/** Starts; asks for the passphrase when the key turns out to need one and somebody is there to type it. */
async function startAsking({ home, signal }: Context, unlock: KeyUnlock) {
  try {
    return await startDaemon({ home, unlock });
  } catch (error) {
    if (!isClawError(error, 'KEY_PASSPHRASE_REQUIRED') || !process.stdin.isTTY) throw error;
    const passphrase = await askPassphrase('Passphrase of the node key: ', signal);
    return startDaemon({ home, unlock: { protection: 'passphrase', passphrase } });
  }
}

async function runInForeground({ home, signal, out }: Context, unlock: KeyUnlock): Promise<void> {
  const { runDaemon } = await import('../daemon/run.ts');
  const logger = createLogger({ write: (line) => void process.stderr.write(`${line}\n`), level: await logLevel(home) });
  const daemon = await runDaemon({ home, unlock, logger });
  signal.addEventListener('abort', () => daemon.stop(), { once: true });
  out.result(
    { state: 'started', nodeId: daemon.nodeId, pid: process.pid, port: daemon.port, home },
    `The node is up: ${daemon.nodeId}`,
  );
  await daemon.stopped;
  process.exit(0);
}

async function down(context: Context): Promise<void> {
  const running = await context.running();
  if (!running) return context.out.result({ state: 'stopped', pid: null }, 'The node does not run.');
  const { pid } = await running.request<{ pid: number }>('POST', '/v1/shutdown');
  const deadline = performance.now() + STOP_DEADLINE_MS;
  while (isAlive(pid)) {
    if (performance.now() > deadline) {
      throw new ClawError(
        'NODE_NOT_STOPPED',
        `the node (process ${pid}) did not end within ${STOP_DEADLINE_MS / 1000} s`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  context.out.result({ state: 'stopped', pid }, `The node has stopped (process ${pid}).`);
}

async function logs({ home, out, signal }: Context, options: { lines: number; follow?: boolean }): Promise<void> {
  const path = logPath(home);
  if (!existsSync(path)) return out.result([], `There is no log yet: ${path}`);
  const all = (await readFile(path, 'utf8')).split('\n').filter((line) => line !== '');
  const lines = all.slice(Math.max(0, all.length - options.lines));
  if (out.json) return out.result(lines.map(parseLine), '');
  for (const line of lines) out.line(readableLine(line));
  if (options.follow) await follow(path, signal, (line) => out.line(readableLine(line)));
}

async function follow(path: string, signal: AbortSignal, onLine: (line: string) => void): Promise<void> {
  let offset = (await stat(path)).size;
  let rest = '';
  const watcher = watch(path, { signal });
  watcher.on('error', () => {});
  const ended = new Promise<void>((resolve) => watcher.once('close', () => resolve()));
  watcher.on('change', () => {
    const stream = createReadStream(path, { start: offset, encoding: 'utf8' });
    stream.on('data', (chunk) => {
      offset += Buffer.byteLength(chunk);
      const parts = (rest + String(chunk)).split('\n');
      rest = parts.pop() ?? '';
      parts.forEach(onLine);
    });
  });
  await ended;
}

function parseLine(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return { level: 'error', event: 'stderr', detail: line };
  }
}

function readableLine(line: string): string {
  const { time = '', level = '', event = '', ...fields } = parseLine(line) as Record<string, string>;
  const rest = Object.entries(fields).map(
    ([key, value]) => `${key}=${/[\s"]/.test(value) ? JSON.stringify(value) : value}`,
  );
  return `${time.slice(0, 19).replace('T', ' ')} ${level.padEnd(5)} ${event}  ${rest.join(' ')}`;
}

async function version({ out }: Context): Promise<void> {
  const facts = measureRuntime();
  const document = {
    version: facts.version,
    integrity: facts.integrity,
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
  };
  out.result(
    document,
    `claw ${facts.version}\nintegrity ${facts.integrity}\nnode ${process.version} on ${document.platform}`,
  );
}
