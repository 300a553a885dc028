/** What this process costs at the moment. */

import { readdirSync } from 'node:fs';

export interface ProcessCost {
  readonly rssBytes: number;
  /** Since it began, but for collections that were asked for. */
  readonly cpuMs: number;
  readonly threads: number;
}

let collectionsMs = 0;

/** With `--expose-gc` after a collection, so that garbage does not count; what that costs does not either. */
export function costOfProcess(): ProcessCost {
  const beforeMs = cpuMs();
  (globalThis as { gc?: () => void }).gc?.();
  collectionsMs += cpuMs() - beforeMs;
  return {
    rssBytes: process.memoryUsage.rss(),
    cpuMs: cpuMs() - collectionsMs,
    threads: process.platform === 'linux' ? readdirSync('/proc/self/task').length : 0,
  };
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
