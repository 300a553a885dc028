/**
 * Where results go. With --json: exactly one document on stdout, everything else
 * on stderr. Without: text for people on stdout, progress on stderr, colours only
 * on a terminal that wants them.
 */

import { ClawError, errorCode, errorText } from '@claw/base';
import { exitCodeOf } from './exit-codes.ts';

const COLOURS = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const;
export type Colour = keyof typeof COLOURS;

export class Output {
  readonly json: boolean;
  readonly #colour: boolean;

  constructor(json: boolean) {
    this.json = json;
    this.#colour = process.stdout.isTTY === true && process.env['NO_COLOR'] === undefined;
  }

  /** The result of the verb: `document` for programs, `text` for people. */
  result(document: unknown, text: string | (() => string)): void {
    if (this.json) process.stdout.write(`${JSON.stringify(document, null, 2)}\n`);
    else this.line(typeof text === 'string' ? text : text());
  }

  /** A line for people; nothing with --json. */
  line(text: string): void {
    if (!this.json && text !== '') process.stdout.write(`${text}\n`);
  }

  /** A remark for people, on stderr in both modes. */
  note(text: string): void {
    process.stderr.write(`${text}\n`);
  }

  /** Reports a failure and sets the exit status; `done` is what came before it, for programs. */
  fail(error: unknown, done: Readonly<Record<string, unknown>> = {}): void {
    const code = errorCode(error);
    const hint = error instanceof ClawError ? error.hint : undefined;
    process.exitCode = exitCodeOf(code);
    if (this.json) {
      const body = { code, message: errorText(error), ...(hint !== undefined && { hint }) };
      process.stdout.write(`${JSON.stringify({ error: body, ...done }, null, 2)}\n`);
      return;
    }
    process.stderr.write(`${this.paint('red', 'error')} ${errorText(error)} ${this.paint('dim', `[${code}]`)}\n`);
    if (hint !== undefined) process.stderr.write(`${this.paint('cyan', 'hint')}  ${hint}\n`);
  }

  paint(colour: Colour, text: string): string {
    return this.#colour ? `\u001b[${COLOURS[colour]}m${text}\u001b[0m` : text;
  }
}

/** Rows in aligned columns; the first row is the head. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => visibleLength(row[column] ?? ''))));
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => cell + ' '.repeat(Math.max(0, (widths[column] ?? 0) - visibleLength(cell))))
      .join('  ')
      .trimEnd();
  return rows.map(line).join('\n');
}

export function readableBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  return power === 0 ? `${bytes} B` : `${(bytes / 1000 ** power).toFixed(1)} ${units[power]}`;
}

export function readableMs(ms: number | null | undefined): string {
  if (ms === undefined || ms === null) return '–';
  return ms < 10 ? `${ms.toFixed(2)} ms` : ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

function visibleLength(text: string): number {
  // oxlint-disable-next-line no-control-regex -- that is what a colour is
  return text.replace(/\u001b\[\d+m/g, '').length;
}
