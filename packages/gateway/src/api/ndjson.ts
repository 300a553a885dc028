/**
 * Streams of values as lines: `{"item":…}` each, then `{"end":true}` or
 * `{"error":…}`. A stream without its last line was cut, and is never taken for whole.
 */

import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { ClawError } from '@claw/base';
import * as v from 'valibot';
import { apiError, errorBody } from './errors.ts';

const MAX_LINE_CHARACTERS = 2 ** 20;

const errorSchema = v.object({ code: v.string(), message: v.string(), hint: v.optional(v.string()) });
const lineSchema = v.union([
  v.object({ item: v.unknown() }),
  v.object({ end: v.literal(true) }),
  v.object({ error: errorSchema }),
]);

/** Waits for a slow reader, and stops asking for items when `signal` fires. */
export async function sendLines(
  out: Writable,
  items: AsyncIterable<unknown>,
  check: (item: unknown) => unknown,
  signal: AbortSignal,
): Promise<void> {
  const write = async (line: unknown) => {
    if (!out.write(`${JSON.stringify(line)}\n`)) await once(out, 'drain', { signal });
  };
  try {
    for await (const item of items) {
      signal.throwIfAborted();
      await write({ item: check(item) });
    }
    await write({ end: true });
  } catch (error) {
    if (out.writable) out.end(`${JSON.stringify(errorBody(signal.aborted ? signal.reason : error))}\n`);
    throw error;
  }
  out.end();
}

/**
 * The items of a stream; ending the loop early ends the connection.
 * @throws ClawError the sender's, or `GATEWAY_CUT`, `GATEWAY_ANSWER_INVALID`
 */
export async function* readLines(input: Readable): AsyncGenerator<unknown, void, undefined> {
  try {
    for await (const text of splitLines(input)) {
      const line = parseLine(text);
      if ('end' in line) return;
      if ('error' in line) throw errorFromWire(line.error);
      yield line.item;
    }
    throw apiError('GATEWAY_CUT', 'the stream ended without its last line');
  } finally {
    input.destroy();
  }
}

/** The error of an answer, as it was thrown in the daemon. */
export function errorFromBody(value: unknown): ClawError {
  const result = v.safeParse(v.object({ error: errorSchema }), value);
  if (!result.success)
    return apiError('GATEWAY_ANSWER_INVALID', 'the daemon answered an error in a shape that is not known here');
  return errorFromWire(result.output.error);
}

function errorFromWire({ code, message, hint }: v.InferOutput<typeof errorSchema>): ClawError {
  return new ClawError(code, message, hint === undefined ? {} : { hint });
}

function parseLine(text: string): v.InferOutput<typeof lineSchema> {
  try {
    return v.parse(lineSchema, JSON.parse(text));
  } catch (cause) {
    throw apiError('GATEWAY_ANSWER_INVALID', 'the daemon sent a line that is not known here', { cause });
  }
}

async function* splitLines(input: Readable): AsyncGenerator<string> {
  let rest = '';
  input.setEncoding('utf8');
  try {
    for await (const chunk of input as AsyncIterable<string>) {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      yield* lines;
      if (rest.length > MAX_LINE_CHARACTERS)
        throw apiError('GATEWAY_ANSWER_INVALID', 'the daemon sent a line without end');
    }
  } catch (cause) {
    if (cause instanceof ClawError) throw cause;
    throw apiError('GATEWAY_CUT', 'the connection ended in the middle of a stream', { cause });
  }
}
