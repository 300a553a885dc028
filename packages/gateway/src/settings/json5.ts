/**
 * JSON5 text (https://spec.json5.org) to a tree with ranges. The text is foreign:
 * nesting is bounded before anything recursive sees it, and a string that runs
 * over its line is refused where it starts, not where the damage shows.
 */

import { isUtf8 } from 'node:buffer';
import { errorText } from '@claw/base';
import { type ObjectNode, parse, type Token, tokenize, type ValueNode } from '@humanwhocodes/momoa';
import { faultsError } from './errors.ts';

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | { readonly [key: string]: JsonValue };

export interface Json5Token {
  readonly type: Token['type'];
  readonly start: number;
  readonly end: number;
}

export interface Json5Document {
  readonly text: string;
  readonly root: ObjectNode;
  /** In order, comments included. */
  readonly tokens: readonly Json5Token[];
}

/** Braces and brackets inside one another. */
const MAX_DEPTH = 64;
/** They mean something else to JavaScript objects, so no section of ours may use them. */
const FORBIDDEN_KEYS = new Set(['__proto__', 'constructor', 'prototype']);

/** The text of the file's bytes, a byte order mark included. @throws ClawError `SETTINGS_SYNTAX` */
export function decodeText(bytes: Buffer): string {
  const nul = bytes.indexOf(0);
  if (nul >= 0 || !isUtf8(bytes)) {
    const text = bytes.subarray(0, nul >= 0 ? nul : firstBadByte(bytes)).toString('utf8');
    const message = nul >= 0 ? 'found a NUL byte' : 'found bytes that are not UTF-8';
    throw faultsError('SETTINGS_SYNTAX', text, [{ offset: text.length, message, hint: 'Save the file as UTF-8.' }]);
  }
  return bytes.toString('utf8');
}

/** @throws ClawError `SETTINGS_SYNTAX` with the place of the fault. */
export function parseJson5(text: string): Json5Document {
  const tokens = readTokens(text);
  const { body } = orSyntaxError(text, () => parse(text, { mode: 'json5', ranges: true }));
  if (body.type !== 'Object') {
    throw syntaxError(text, body.loc.start.offset, `expected an object in braces, found ${describeNode(body)}`);
  }
  return { text, root: body, tokens };
}

/** Start and end of a node. */
export function rangeOf(node: {
  readonly loc: { start: { offset: number }; end: { offset: number } };
}): [number, number] {
  return [node.loc.start.offset, node.loc.end.offset];
}

export function keyOf(member: ObjectNode['members'][number]): string {
  return member.name.type === 'String' ? member.name.value : member.name.name;
}

/** The member that counts: the last with that key. */
export function memberOf(node: ObjectNode, key: string): ObjectNode['members'][number] | undefined {
  return node.members.findLast((member) => keyOf(member) === key);
}

/** The value of a node, told through `onFault` of keys that appear twice or are forbidden. */
export function valueOf(node: ValueNode, onFault: (offset: number, message: string) => void): JsonValue {
  switch (node.type) {
    case 'Object': {
      const value: Record<string, JsonValue> = {};
      for (const member of node.members) {
        const key = keyOf(member);
        const offset = member.name.loc.start.offset;
        if (FORBIDDEN_KEYS.has(key)) onFault(offset, `expected another key than ${JSON.stringify(key)}`);
        else if (Object.hasOwn(value, key))
          onFault(offset, `found the key ${JSON.stringify(key)} twice, expected it once`);
        else value[key] = valueOf(member.value, onFault);
      }
      return value;
    }
    case 'Array':
      return node.elements.map((element) => valueOf(element.value, onFault));
    case 'Null':
      return null;
    case 'NaN':
      return Number.NaN;
    case 'Infinity':
      return node.sign === '-' ? -Infinity : Infinity;
    default:
      return node.value;
  }
}

/** For messages: `a string`, `an array`. */
export function describeNode(node: ValueNode): string {
  const word = node.type === 'NaN' || node.type === 'Infinity' ? 'number' : node.type.toLowerCase();
  return word === 'null' ? word : `${/^[aeiou]/.test(word) ? 'an' : 'a'} ${word}`;
}

function readTokens(text: string): Json5Token[] {
  refuseOpenStrings(text);
  const tokens = orSyntaxError(text, () => tokenize(text, { mode: 'json5' }));
  let depth = 0;
  return tokens.map(({ type, loc }) => {
    const [start, end] = rangeOf({ loc });
    if (type === 'LBrace' || type === 'LBracket') depth += 1;
    else if (type === 'RBrace' || type === 'RBracket') depth -= 1;
    if (depth > MAX_DEPTH)
      throw syntaxError(text, start, `found ${depth} levels of nesting, expected at most ${MAX_DEPTH}`);
    return { type, start, end };
  });
}

/** Comments and strings; the group is the closing quote, empty where the line or the file ends first. */
const COMMENT_OR_STRING =
  /\/\/[^\r\n]*|\/\*(?:[^]*?\*\/|[^]*)|"(?:\\(?:\r\n|[^])|[^"\\\r\n])*("?)|'(?:\\(?:\r\n|[^])|[^'\\\r\n])*('?)/g;

function refuseOpenStrings(text: string): void {
  for (const match of text.matchAll(COMMENT_OR_STRING)) {
    if ((match[1] ?? match[2]) === '') {
      throw syntaxError(text, match.index, 'found the start of a string, expected its closing quote on the same line');
    }
  }
}

/** Momoa's errors carry an offset and end in `(line:column)`. */
function orSyntaxError<T>(text: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    const message = errorText(error)
      .replace(/ \(\d+:\d+\)$/, '')
      .replace(/ found\.$/, '');
    if (message.startsWith('Unexpected end') || message.includes('\uffff')) {
      throw syntaxError(
        text,
        text.length,
        'found the end of the file, expected more: is a brace, a bracket or */ missing?',
      );
    }
    const offset = error instanceof Error && 'offset' in error ? Number(error.offset) : 0;
    throw syntaxError(text, offset, `found ${message.charAt(0).toLowerCase()}${message.slice(1)}`);
  }
}

function syntaxError(text: string, offset: number, message: string) {
  return faultsError('SETTINGS_SYNTAX', text, [{ offset, message }]);
}

function firstBadByte(bytes: Buffer): number {
  let low = 0;
  let high = bytes.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    // A cut character at the end is at most three bytes long, and no fault of its own.
    const whole = [0, 1, 2, 3].some((back) => back <= middle && isUtf8(bytes.subarray(0, middle - back)));
    if (whole) low = middle + 1;
    else high = middle;
  }
  return Math.max(0, low - 4);
}
