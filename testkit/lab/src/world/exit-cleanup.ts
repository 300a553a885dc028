/**
 * Takes labs away when this process ends without closing them: on exit, and on an
 * interrupt or a request to terminate that nobody else listens to.
 */

import { type RunRecord, removeRun } from './run-record.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

const open = new Set<RunRecord>();

export function removeOnExit(record: RunRecord): void {
  if (open.size === 0) {
    process.on('exit', removeAll);
    for (const signal of SIGNALS) process.on(signal, onSignal);
  }
  open.add(record);
}

/** To be called when the lab has been taken away in order. */
export function forgetOnExit(record: RunRecord): void {
  open.delete(record);
  if (open.size > 0) return;
  process.off('exit', removeAll);
  for (const signal of SIGNALS) process.off(signal, onSignal);
}

function removeAll(): void {
  for (const record of open) removeRun(record);
}

function onSignal(signal: NodeJS.Signals): void {
  // Whoever else listens decides; at the latest the exit takes the labs away.
  if (process.listenerCount(signal) > 1) return;
  removeAll();
  process.off(signal, onSignal);
  process.kill(process.pid, signal);
}
