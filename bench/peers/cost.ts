/** What this process costs at the moment. */

import { readdirSync } from 'node:fs';

export interface ProcessCost {
  readonly rssBytes: number;
  /** Since it began. */
  readonly cpuMs: number;
  readonly threads: number;
}

/** With `--expose-gc` after a collection, so that garbage does not count. */
export function costOfProcess(): ProcessCost {
  (globalThis as { gc?: () => void }).gc?.();
  const { user, system } = process.cpuUsage();
  return {
    rssBytes: process.memoryUsage.rss(),
    cpuMs: (user + system) / 1000,
    threads: process.platform === 'linux' ? readdirSync('/proc/self/task').length : 0,
  };
}
