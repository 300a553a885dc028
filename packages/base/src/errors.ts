/**
 * The one error class of the code base. Callers branch on `code`, people read
 * `message`; each package owns a literal union of its codes and lists them in
 * its README. Codes never change meaning once published.
 */

export interface ClawErrorOptions {
  /** The error that made this one necessary. */
  readonly cause?: unknown;
  /** What the person at the keyboard can do about it, one sentence, optional. */
  readonly hint?: string;
}

export class ClawError<Code extends string = string> extends Error {
  override readonly name = 'ClawError';
  readonly code: Code;
  readonly hint: string | undefined;

  constructor(code: Code, message: string, options: ClawErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }
}

/** True when `error` is a {@link ClawError}, with one of `codes` if any are given. */
export function isClawError<Code extends string>(error: unknown, ...codes: Code[]): error is ClawError<Code> {
  return error instanceof ClawError && (codes.length === 0 || (codes as string[]).includes(error.code));
}

/** The text of anything that was thrown, for a log line or a message. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The code of a {@link ClawError} or of a Node.js system error; `INTERNAL` for anything else. */
export function errorCode(error: unknown): string {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
  return 'INTERNAL';
}
