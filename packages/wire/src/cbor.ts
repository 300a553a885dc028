/**
 * CBOR (RFC 8949) for every structured value on the wire, checked against a
 * schema before anyone sees it. Encoding is deterministic (§4.2: shortest
 * lengths, sorted keys); decoding is strict: indefinite lengths, duplicate keys,
 * tags, undefined and trailing bytes are refused.
 */

import { ClawError, errorText } from '@claw/base';
import { decode, encode } from 'cborg';
import * as v from 'valibot';

export type WireErrorCode = 'WIRE_MALFORMED' | 'WIRE_TOO_LARGE';

export function encodeCbor(value: unknown): Uint8Array {
  return encode(value);
}

/**
 * The checked value of `bytes`. `what` names it in errors.
 * @throws ClawError `WIRE_TOO_LARGE` above `maxBytes`, `WIRE_MALFORMED` for anything else.
 */
export function decodeCbor<const Schema extends v.GenericSchema>(
  what: string,
  schema: Schema,
  bytes: Uint8Array,
  maxBytes: number,
): v.InferOutput<Schema> {
  if (bytes.length > maxBytes) {
    throw new ClawError<WireErrorCode>(
      'WIRE_TOO_LARGE',
      `${what} has ${bytes.length} bytes, at most ${maxBytes} are taken`,
    );
  }
  let value: unknown;
  try {
    value = decode(bytes, {
      strict: true,
      allowIndefinite: false,
      allowUndefined: false,
      allowBigInt: false,
      allowInfinity: false,
      allowNaN: false,
      rejectDuplicateMapKeys: true,
    });
  } catch (cause) {
    throw new ClawError<WireErrorCode>('WIRE_MALFORMED', `${what} is not valid CBOR: ${errorText(cause)}`, { cause });
  }
  const result = v.safeParse(schema, value);
  if (!result.success) {
    throw new ClawError<WireErrorCode>(
      'WIRE_MALFORMED',
      `${what} has the wrong shape: ${describeIssue(result.issues[0])}`,
    );
  }
  return result.output;
}

/** One schema issue as a phrase: where, and what was expected. */
function describeIssue(issue: v.BaseIssue<unknown>): string {
  const path = v.getDotPath(issue);
  return path ? `${path}: ${issue.message}` : issue.message;
}

/** A byte string of exactly `length` bytes. */
export function fixedBytes(length: number) {
  return v.custom<Uint8Array>(
    (value) => value instanceof Uint8Array && value.length === length,
    `expected ${length} bytes`,
  );
}

/** A byte string of at most `maxLength` bytes. */
export function boundedBytes(maxLength: number) {
  return v.custom<Uint8Array>(
    (value) => value instanceof Uint8Array && value.length <= maxLength,
    `expected at most ${maxLength} bytes`,
  );
}
