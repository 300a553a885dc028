/** What a verb is made of: a command of the parser, and an action that gets the context. */

import { type Command, InvalidArgumentError } from 'commander';
import type { Context } from './context.ts';

/** Adds a verb; its errors are reported in one place. */
export type AddVerb = <Arguments extends unknown[]>(
  command: Command,
  action: (context: Context, ...args: Arguments) => Promise<void>,
) => void;

/** Parser of an option that counts. */
export function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new InvalidArgumentError('It is not a whole number.');
  return value;
}
