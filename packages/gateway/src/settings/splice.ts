/**
 * Edits as splices of text: what an edit does not name keeps its bytes – comments,
 * key order, quotes, indentation, trailing commas, line ends. A deletion takes the
 * member, one comma and blank space; an insertion adds after the last member.
 */

import { isDeepStrictEqual } from 'node:util';
import type { ObjectNode } from '@humanwhocodes/momoa';
import { faultsError } from './errors.ts';
import {
  describeNode,
  type Json5Document,
  type Json5Token,
  type JsonValue,
  memberOf,
  parseJson5,
  rangeOf,
  valueOf,
} from './json5.ts';
import { indentAt, indentBefore, isLineEnd, type PrintStyle, printKey, printValue, styleOf } from './print.ts';

export interface Edit {
  /** Keys from the root; at least one. An array is edited as one value. */
  readonly path: readonly string[];
  /** `undefined` deletes the key. */
  readonly value: JsonValue | undefined;
}

export interface Splice {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

type Member = ObjectNode['members'][number];

/** The text after `edits`, in order. @throws ClawError `SETTINGS_SYNTAX`, `SETTINGS_INVALID` */
export function editJson5(text: string, edits: readonly Edit[]): string {
  return edits.reduce((current, edit) => applySplices(current, planEdit(parseJson5(current), edit)), text);
}

/** The splices of one edit, in order and apart from one another; none when the value is there already. */
export function planEdit(document: Json5Document, edit: Edit): Splice[] {
  if (edit.path.length === 0) throw new TypeError('an edit needs a path of at least one key');
  let node = document.root;
  for (const [index, key] of edit.path.entries()) {
    const member = memberOf(node, key);
    const rest = edit.path.slice(index + 1);
    if (!member) return edit.value === undefined ? [] : planInsertion(document, node, key, nest(rest, edit.value));
    if (rest.length === 0) {
      return edit.value === undefined
        ? planDeletion(document, node, member)
        : planReplacement(document, node, member, edit.value);
    }
    if (member.value.type !== 'Object') {
      const where = edit.path.slice(0, index + 1).join('.');
      const message = `${where}: expected an object to edit ${edit.path.join('.')}, found ${describeNode(member.value)}`;
      throw faultsError('SETTINGS_INVALID', document.text, [{ offset: member.value.loc.start.offset, message }]);
    }
    node = member.value;
  }
  return [];
}

export function applySplices(text: string, splices: readonly Splice[]): string {
  let result = '';
  let at = 0;
  for (const splice of splices) {
    result += text.slice(at, splice.start) + splice.text;
    at = splice.end;
  }
  return result + text.slice(at);
}

function nest(path: readonly string[], value: JsonValue): JsonValue {
  return path.reduceRight<JsonValue>((inner, key) => ({ [key]: inner }), value);
}

function planReplacement(document: Json5Document, parent: ObjectNode, member: Member, value: JsonValue): Splice[] {
  let sound = true;
  const current = valueOf(member.value, () => {
    sound = false;
  });
  if (sound && isDeepStrictEqual(current, value)) return [];
  const [start, end] = rangeOf(member.value);
  const indent = indentAt(document.text, member.loc.start.offset);
  return [{ start, end, text: printValue(value, styleOf(document), indent, isOneLine(document, parent)) }];
}

function planDeletion(document: Json5Document, parent: ObjectNode, member: Member): Splice[] {
  const { text, tokens } = document;
  const [start, end] = rangeOf(member);
  const after = tokens.find((token) => token.start >= end && !isComment(token)) as Json5Token;
  if (after.type === 'Comma') {
    if (text.slice(end, after.start).trim() === '') return [blankOut(text, start, after.end)];
    return [blankOut(text, start, end), { start: after.start, end: after.end, text: '' }];
  }
  const before = tokens.findLast((token) => token.end <= start && !isComment(token)) as Json5Token;
  if (before.type !== 'Comma' || parent.members.length === 1) return [blankOut(text, start, end)];
  if (text.slice(before.end, start).trim() === '') return [{ start: before.start, end, text: '' }];
  return [{ start: before.start, end: before.end, text: '' }, blankOut(text, start, end)];
}

/** Removes a range; with it its line when nothing else stands there, or the blanks that it leaves doubled. */
function blankOut(text: string, start: number, end: number): Splice {
  let [left, right] = [start, end];
  while (text[left - 1] === ' ' || text[left - 1] === '\t') left -= 1;
  while (text[right] === ' ' || text[right] === '\t') right += 1;
  const opensLine = left === 0 || isLineEnd(text[left - 1]);
  const lineEnd = text.startsWith('\r\n', right) ? '\r\n' : isLineEnd(text[right]) ? (text[right] as string) : '';
  if (opensLine)
    return lineEnd ? { start: left, end: right + lineEnd.length, text: '' } : { start, end: right, text: '' };
  return lineEnd ? { start: left, end: right, text: '' } : { start, end: right, text: '' };
}

function planInsertion(document: Json5Document, parent: ObjectNode, key: string, value: JsonValue): Splice[] {
  const { text, tokens } = document;
  const style = styleOf(document);
  const [open, close] = [parent.loc.start.offset, parent.loc.end.offset - 1];
  const last = parent.members.at(-1);
  const entry = (indent: string, inline: boolean) =>
    `${printKey(key, siblingStyle(text, style, last))}: ${printValue(value, style, indent, inline)}`;
  const baseIndent = indentAt(text, open);

  if (!last && text.slice(open + 1, close).trim() === '') {
    if (parent !== document.root && isOneLine(document, document.root)) {
      return [{ start: open + 1, end: close, text: ` ${entry('', true)} ` }];
    }
    const indent = baseIndent + style.unit;
    const comma = style.trailingComma ? ',' : '';
    return [
      {
        start: open + 1,
        end: close,
        text: `${style.newline}${indent}${entry(indent, false)}${comma}${style.newline}${baseIndent}`,
      },
    ];
  }

  const oneLine = last !== undefined && isOneLine(document, parent);
  const from = last ? rangeOf(last)[1] : open + 1;
  const next = tokens.find((token) => token.start >= from && !isComment(token)) as Json5Token;
  const hasComma = next.type === 'Comma';
  const at = skipComments(document, hasComma ? next.end : from);
  const indent = last
    ? (indentBefore(text, last.loc.start.offset) ?? baseIndent + style.unit)
    : baseIndent + style.unit;
  const lead = oneLine ? ' ' : `${style.newline}${indent}`;
  const tail = /[\r\n]/.test(text.slice(at, close)) || last ? '' : `${style.newline}${baseIndent}`;
  const inserted = `${lead}${entry(oneLine ? '' : indent, oneLine)}${hasComma ? ',' : ''}${tail}`;
  if (hasComma || !last) return [{ start: at, end: at, text: inserted }];
  if (at === from) return [{ start: at, end: at, text: `,${inserted}` }];
  return [
    { start: from, end: from, text: ',' },
    { start: at, end: at, text: inserted },
  ];
}

/** Past the comments that begin on the line of `offset`: they speak of what stands before them. */
function skipComments(document: Json5Document, offset: number): number {
  let at = offset;
  for (const token of document.tokens) {
    if (token.start < at) continue;
    if (!isComment(token) || /[\r\n]/.test(document.text.slice(at, token.start))) break;
    at = token.end;
  }
  return at;
}

function siblingStyle(text: string, style: PrintStyle, sibling: Member | undefined): PrintStyle {
  if (!sibling) return style;
  return {
    ...style,
    keyQuote: sibling.name.type === 'String' ? (text[sibling.name.loc.start.offset] as '"' | "'") : '',
  };
}

function isOneLine(document: Json5Document, node: ObjectNode): boolean {
  return node.members.length > 0 && !/[\r\n]/.test(document.text.slice(...rangeOf(node)));
}

function isComment(token: Json5Token): boolean {
  return token.type.endsWith('Comment');
}
