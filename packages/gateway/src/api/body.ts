/** Bodies: read within a bound, and turned into checked values. */

import type { IncomingMessage } from 'node:http';
import { errorText } from '@claw/base';
import * as v from 'valibot';
import { apiError } from './errors.ts';

export const MAX_BODY_BYTES = 2 ** 20;

/** @throws ClawError `REQUEST_TOO_LARGE`, `REQUEST_MALFORMED` when the sender ends early */
export async function readBody(request: IncomingMessage): Promise<Buffer> {
  if (Number(request.headers['content-length'] ?? 0) > MAX_BODY_BYTES) throw tooLarge();
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > MAX_BODY_BYTES) break;
      chunks.push(chunk);
    }
  } catch (cause) {
    throw apiError('REQUEST_MALFORMED', `the request ended early: ${errorText(cause)}`, { cause });
  }
  if (length > MAX_BODY_BYTES) throw tooLarge();
  return Buffer.concat(chunks, length);
}

/**
 * The checked value of a JSON body; `undefined` for a route that takes none.
 * @throws ClawError `MEDIA_TYPE_NOT_SUPPORTED`, `REQUEST_MALFORMED`, `REQUEST_INVALID`
 */
export function parseBody(schema: v.GenericSchema | undefined, contentType: string | undefined, body: Buffer): unknown {
  if (!schema) {
    if (body.length > 0) throw apiError('REQUEST_INVALID', `this route takes no body, got ${body.length} bytes`);
    return undefined;
  }
  if (!/^application\/json[ \t]*(?:;[ \t]*charset="?utf-8"?[ \t]*)?$/i.test(contentType ?? '')) {
    throw apiError('MEDIA_TYPE_NOT_SUPPORTED', 'the body must be application/json');
  }
  return checkBody(schema, parseJson(body));
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch (cause) {
    throw apiError('REQUEST_MALFORMED', `the body is not JSON: ${errorText(cause)}`, { cause });
  }
}

function checkBody(schema: v.GenericSchema, value: unknown): unknown {
  const result = v.safeParse(schema, value);
  if (result.success) return result.output;
  const [issue] = result.issues;
  throw apiError('REQUEST_INVALID', `the body does not fit: ${v.getDotPath(issue) ?? 'body'}: ${issue.message}`);
}

function tooLarge() {
  return apiError('REQUEST_TOO_LARGE', `the body has more than ${MAX_BODY_BYTES} bytes`);
}
