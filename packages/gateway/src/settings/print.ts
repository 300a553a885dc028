/** A value as JSON5 text in the manner of the document it goes into. */

import type { Json5Document, JsonValue } from './json5.ts';

export interface PrintStyle {
  readonly newline: string;
  /** One level of indentation. */
  readonly unit: string;
  readonly quote: '"' | "'";
  /** How keys are quoted; `''` leaves identifiers bare. */
  readonly keyQuote: '"' | "'" | '';
  readonly trailingComma: boolean;
}

/** A value goes on one line when it holds no filled objects and ends before this column. */
const LINE_WIDTH = 80;
const BARE_KEY = /^[A-Za-z_$][\w$]*$/;
/** Bare words that a JSON5 parser may take for values. */
const RESERVED = new Set(['true', 'false', 'null', 'NaN', 'Infinity']);

export function styleOf(document: Json5Document): PrintStyle {
  const { text, tokens, root } = document;
  const keys = root.members.map((member) => member.name);
  const lastKey = keys.at(-1);
  const keyQuote = lastKey?.type === 'String' ? (text[lastKey.loc.start.offset] as '"' | "'") : '';
  const keyStarts = new Set(keys.map((key) => key.loc.start.offset));
  const firstString = tokens.find((token) => token.type === 'String' && !keyStarts.has(token.start));
  const firstIndent = root.members
    .map((member) => indentBefore(text, member.loc.start.offset))
    .find((indent) => indent);
  return {
    newline: /\r\n|\n|\r/.exec(text)?.[0] ?? '\n',
    unit: firstIndent || '  ',
    quote: firstString ? (text[firstString.start] as '"' | "'") : keyQuote || '"',
    keyQuote,
    trailingComma: tokens.some(
      (token, index) => token.type === 'Comma' && nextCode(tokens, index)?.type.startsWith('R') === true,
    ),
  };
}

/** The blanks before `offset` when nothing else stands before it on its line, or `undefined`. */
export function indentBefore(text: string, offset: number): string | undefined {
  let start = offset;
  while (text[start - 1] === ' ' || text[start - 1] === '\t') start -= 1;
  return start === 0 || isLineEnd(text[start - 1]) ? text.slice(start, offset) : undefined;
}

/** The blanks that open the line of `offset`. */
export function indentAt(text: string, offset: number): string {
  let start = offset;
  while (start > 0 && !isLineEnd(text[start - 1])) start -= 1;
  let end = start;
  while (end < offset && (text[end] === ' ' || text[end] === '\t')) end += 1;
  return text.slice(start, end);
}

export function isLineEnd(character: string | undefined): boolean {
  return character === '\n' || character === '\r';
}

/** `indent` is that of the line on which the value begins; `inline` keeps it on one line. */
export function printValue(value: JsonValue, style: PrintStyle, indent: string, inline: boolean): string {
  if (typeof value === 'string') return quote(value, style.quote);
  if (value === null || typeof value !== 'object') return String(value);
  const parts = Array.isArray(value)
    ? value.map((item: JsonValue) => (inner: string, flat: boolean) => printValue(item, style, inner, flat))
    : Object.entries(value).map(
        ([key, item]: [string, JsonValue]) =>
          (inner: string, flat: boolean) =>
            `${printKey(key, style)}: ${printValue(item, style, inner, flat)}`,
      );
  const [open, close, pad] = Array.isArray(value) ? ['[', ']', ''] : ['{', '}', ' '];
  if (parts.length === 0) return `${open}${close}`;
  const flat = `${open}${pad}${parts.map((print) => print(indent, true)).join(', ')}${pad}${close}`;
  if (inline || (isShallow(value) && indent.length + flat.length < LINE_WIDTH)) return flat;
  const inner = indent + style.unit;
  const lines = parts.map((print) => `${inner}${print(inner, false)}`).join(`,${style.newline}`);
  return `${open}${style.newline}${lines}${style.trailingComma ? ',' : ''}${style.newline}${indent}${close}`;
}

export function printKey(key: string, style: PrintStyle): string {
  if (style.keyQuote === '' && BARE_KEY.test(key) && !RESERVED.has(key)) return key;
  return quote(key, style.keyQuote || style.quote);
}

function quote(text: string, mark: '"' | "'"): string {
  const json = JSON.stringify(text).replaceAll('\u2028', '\\u2028').replaceAll('\u2029', '\\u2029');
  return mark === '"' ? json : `'${json.slice(1, -1).replaceAll('\\"', '"').replaceAll("'", "\\'")}'`;
}

function isShallow(value: JsonValue): boolean {
  return Object.values(value as object).every((item: JsonValue) => {
    if (item === null || typeof item !== 'object') return true;
    return Array.isArray(item)
      ? item.every((inner) => inner === null || typeof inner !== 'object')
      : Object.keys(item).length === 0;
  });
}

function nextCode(tokens: Json5Document['tokens'], index: number) {
  return tokens.slice(index + 1, index + 50).find((token) => !token.type.endsWith('Comment'));
}
