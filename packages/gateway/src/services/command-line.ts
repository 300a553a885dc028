/**
 * Splits a command line into words as a shell does, without being one: quotes
 * and backslashes group, nothing is expanded, nothing is run.
 */

import { nodeError } from '../errors.ts';

/** @throws ClawError `SERVICE_INVALID` for an open quote, a trailing backslash or no word at all. */
export function splitCommandLine(line: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote: '"' | "'" | undefined;
  for (let index = 0; index < line.length; index += 1) {
    const character = line[index] as string;
    if (quote === "'") {
      if (character === quote) quote = undefined;
      else word += character;
    } else if (character === '\\' && (quote === undefined || '"\\$`'.includes(line[index + 1] ?? ''))) {
      index += 1;
      if (index === line.length) throw invalid(line, 'it ends with a backslash');
      word = (word ?? '') + line[index];
    } else if (quote === '"') {
      if (character === quote) quote = undefined;
      else word += character;
    } else if (character === '"' || character === "'") {
      quote = character;
      word ??= '';
    } else if (/\s/.test(character)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else {
      word = (word ?? '') + character;
    }
  }
  if (quote) throw invalid(line, `a ${quote} is not closed`);
  if (word !== undefined) words.push(word);
  if (words.length === 0) throw invalid(line, 'it is empty');
  return words;
}

function invalid(line: string, detail: string) {
  return nodeError('SERVICE_INVALID', `the command "${line}" cannot be used: ${detail}`);
}
