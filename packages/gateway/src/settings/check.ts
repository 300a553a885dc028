/**
 * A parsed document against the schema: settings and warnings, or every fault
 * with its place. Values under foreign root keys are never looked at.
 */

import type { ValueNode } from '@humanwhocodes/momoa';
import * as v from 'valibot';
import { closestTo, placeOf, type SettingsFault } from './errors.ts';
import { type Json5Document, type JsonValue, keyOf, memberOf, valueOf } from './json5.ts';
import { settingsKeys, settingsSchema } from './schema.ts';

export interface CheckedDocument {
  /** Present when there are no faults. */
  readonly output?: v.InferOutput<typeof settingsSchema>;
  readonly faults: readonly SettingsFault[];
  readonly warnings: readonly string[];
}

/** Values of these keys are shown to nobody. */
const SECRET_KEYS = new Set(['credential', 'username']);
const MAX_FOUND_LENGTH = 60;
/** Every key below the root, for "did you mean". */
const INNER_KEYS =
  'integrity minVersion maxVersion directory maxBytes kind target to command urls username credential level'.split(' ');

export function checkDocument(document: Json5Document): CheckedDocument {
  const faults: SettingsFault[] = [];
  const warnings: string[] = [];
  const input: Record<string, JsonValue> = {};
  for (const member of document.root.members) {
    const key = keyOf(member);
    const offset = member.name.loc.start.offset;
    if (!settingsKeys.includes(key)) {
      const close = closestTo(key, settingsKeys);
      const place = placeOf(document.text, offset);
      warnings.push(
        `${place}: ${shorten(key)}: no setting of ours, left alone${close ? `; did you mean "${close}"?` : ''}`,
      );
    } else if (Object.hasOwn(input, key)) {
      faults.push({ offset, message: `${key}: found this key twice, expected it once` });
    } else {
      input[key] = valueOf(member.value, (at, message) => faults.push({ offset: at, message: `${key}: ${message}` }));
    }
  }
  const result = v.safeParse(settingsSchema, input);
  if (!result.success) faults.push(...result.issues.map((issue) => faultOf(document, issue)));
  return result.success && faults.length === 0 ? { output: result.output, faults, warnings } : { faults, warnings };
}

function faultOf(document: Json5Document, issue: v.BaseIssue<unknown>): SettingsFault {
  const path = (issue.path ?? []) as readonly { readonly key: unknown; readonly origin?: string }[];
  const keys = path.map((item) => item.key as string | number);
  const atKey = path.at(-1)?.origin === 'key';
  const last = String(keys.at(-1));
  if (atKey && issue.received === 'undefined') {
    const owner = pathText(keys.slice(0, -1));
    return {
      offset: offsetOf(document.root, keys, false),
      message: `${owner}: expected the key ${issue.expected}, found none`,
    };
  }
  const offset = offsetOf(document.root, keys, atKey);
  const where = pathText(keys);
  if (atKey && issue.expected === 'never') {
    const close = closestTo(last, INNER_KEYS);
    return {
      offset,
      message: `${where}: found an unknown key${close ? `; did you mean "${close}"?` : ', expected none'}`,
    };
  }
  const expected = issue.kind === 'schema' ? phrase(issue.expected) : issue.message;
  const found = keys.some((key) => SECRET_KEYS.has(String(key))) ? 'a value that is not shown' : show(issue.input);
  return { offset, message: `${where}: expected ${expected}, found ${found}` };
}

/** Where a path leads, or where it ends when the document is shorter. */
function offsetOf(root: ValueNode, keys: readonly (string | number)[], ofKey: boolean): number {
  let node: ValueNode = root;
  for (const [index, key] of keys.entries()) {
    if (node.type === 'Object') {
      const member = memberOf(node, String(key));
      if (!member) break;
      if (ofKey && index === keys.length - 1) return member.name.loc.start.offset;
      node = member.value;
    } else if (node.type === 'Array') {
      const element = node.elements[Number(key)];
      if (!element) break;
      node = element.value;
    }
  }
  return node.loc.start.offset;
}

function pathText(keys: readonly (string | number)[]): string {
  const text = keys.map((key) => (typeof key === 'number' ? `[${key}]` : `.${shorten(key)}`)).join('');
  return text.replace(/^\./, '') || 'the settings';
}

/** Valibot's type names as people say them. */
function phrase(expected: string | null): string {
  const words: Record<string, string> = {
    string: 'a string',
    number: 'a number',
    boolean: 'true or false',
    Array: 'an array',
    Object: 'an object',
  };
  return (expected ?? 'another value')
    .replace(/^\((.*)\)$/, '$1')
    .split(' | ')
    .map((part) => words[part] ?? part)
    .join(' or ');
}

function show(value: unknown): string {
  const text = typeof value === 'number' ? String(value) : (JSON.stringify(value) ?? 'nothing');
  return shorten(text.replace(/[^\s"/@]+@/g, '***@'));
}

function shorten(text: string): string {
  // What reaches a terminal must not steer it.
  const safe = text.replace(/\p{Cc}/gu, '?');
  return safe.length > MAX_FOUND_LENGTH ? `${safe.slice(0, MAX_FOUND_LENGTH)}…` : safe;
}
