/** The daemon's log: `logs/claw.log` in the home, one JSON object a line, replaced when it grows. */

import { closeSync, mkdirSync, openSync, renameSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { LogLevel } from '@claw/base';
import { loadSettings } from '@claw/gateway';

const MAX_BYTES = 5 * 1024 * 1024;
const KEPT = 3;
const CHECK_EVERY_LINES = 256;

export function logPath(home: string): string {
  return join(home, 'logs', 'claw.log');
}

/** As the settings say at the start; settings that cannot be read are the node's to report. */
export async function logLevel(home: string): Promise<LogLevel> {
  return loadSettings(home).then(
    ({ settings }) => settings.log.level,
    () => 'info',
  );
}

/** A descriptor that appends; for a process's stderr. */
export function openLogDescriptor(home: string): number {
  mkdirSync(join(home, 'logs'), { recursive: true, mode: 0o700 });
  return openSync(logPath(home), 'a', 0o600);
}

/** Appends lines; never throws, for a full disk must not stop a node. */
export class LogFile {
  readonly #home: string;
  #descriptor: number;
  #lines = 0;

  constructor(home: string) {
    this.#home = home;
    this.#descriptor = openLogDescriptor(home);
  }

  write(line: string): void {
    try {
      if (this.#lines++ % CHECK_EVERY_LINES === 0) this.#rotate();
      writeSync(this.#descriptor, `${line}\n`);
    } catch {
      // nowhere to say it
    }
  }

  #rotate(): void {
    const path = logPath(this.#home);
    if (statSync(path).size < MAX_BYTES) return;
    for (let number = KEPT - 1; number >= 1; number -= 1) {
      try {
        renameSync(`${path}.${number}`, `${path}.${number + 1}`);
      } catch {
        // there were not so many yet
      }
    }
    renameSync(path, `${path}.1`);
    closeSync(this.#descriptor);
    this.#descriptor = openLogDescriptor(this.#home);
  }
}
