/**
 * Entry of the daemon process: reads how to open the key from stdin, starts the
 * node, reports on descriptor 3, and stops on SIGTERM, SIGINT or `claw down`.
 */

import { createWriteStream } from 'node:fs';
import { ClawError, createLogger, errorCode, errorText } from '@claw/base';
import type { KeyUnlock } from '@claw/identity';
import { LogFile, logLevel } from './log-file.ts';
import { runDaemon } from './run.ts';

/** A part that does not end is left behind rather than waited for. */
const STOP_DEADLINE_MS = 10_000;

const home = process.argv[2] ?? '';
const log = new LogFile(home);
const logger = createLogger({ write: (line) => log.write(line), level: await logLevel(home) });
const report = createWriteStream('', { fd: 3 });
report.on('error', () => {}); // whoever started us may be gone
process.on('SIGHUP', () => {}); // the terminal that started us may close

process.on('uncaughtException', (error) => {
  logger.error('process.uncaught', { code: errorCode(error), detail: errorText(error), stack: error.stack });
  process.exit(1);
});

try {
  const daemon = await runDaemon({ home, unlock: await readUnlock(), logger });
  tell({ ready: { pid: process.pid, port: daemon.port, nodeId: daemon.nodeId } });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => daemon.stop());
  await daemon.stopping;
  setTimeout(() => {
    logger.error('node.stop-too-slow', { afterMs: STOP_DEADLINE_MS });
    process.exit(1);
  }, STOP_DEADLINE_MS);
  await daemon.stopped;
  process.exit(0);
} catch (error) {
  const hint = error instanceof ClawError ? error.hint : undefined;
  logger.error('node.not-started', { code: errorCode(error), detail: errorText(error) });
  report.end(`${JSON.stringify({ failed: { code: errorCode(error), message: errorText(error), hint } })}\n`, () =>
    process.exit(1),
  );
}

async function readUnlock(): Promise<KeyUnlock> {
  let text = '';
  for await (const chunk of process.stdin) text += String(chunk);
  return JSON.parse(text) as KeyUnlock;
}

function tell(message: unknown): void {
  report.end(`${JSON.stringify(message)}\n`);
}
