/**
 * Structured logging: one JSON object a line. Fields are values that the caller
 * chose to publish; a secret never becomes a field (SECURITY.md).
 */

import { type Clock, systemClock } from './clock.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;

export interface Logger {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
  /** A logger that adds `fields` to every line. */
  with(fields: LogFields): Logger;
}

export interface LoggerOptions {
  /** Receives each finished line, without a line break. */
  readonly write: (line: string) => void;
  /** Lines below this level are dropped. Default `info`. */
  readonly level?: LogLevel;
  readonly clock?: Clock;
}

const RANK: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 };

export function createLogger(options: LoggerOptions, bound: LogFields = {}): Logger {
  const clock = options.clock ?? systemClock;
  const threshold = RANK[options.level ?? 'info'];
  const log = (level: LogLevel, event: string, fields?: LogFields) => {
    if (RANK[level] < threshold) return;
    options.write(JSON.stringify({ time: new Date(clock.now()).toISOString(), level, event, ...bound, ...fields }));
  };
  return {
    debug: (event, fields) => log('debug', event, fields),
    info: (event, fields) => log('info', event, fields),
    warn: (event, fields) => log('warn', event, fields),
    error: (event, fields) => log('error', event, fields),
    with: (fields) => createLogger(options, { ...bound, ...fields }),
  };
}

/** Drops everything: for tests and for library users who bring no logger. */
export const silentLogger: Logger = createLogger({ write: () => {} });
