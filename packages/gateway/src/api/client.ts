/**
 * The other side of the door, for the CLI: signs each request, believes no answer
 * before it has proven to come from a daemon that knows the session's token, and
 * throws the daemon's errors with the codes they had there.
 */

import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { ClawError, type Clock, errorCode, errorText, type Random, systemClock, systemRandom } from '@claw/base';
import * as v from 'valibot';
import { MAX_BODY_BYTES } from './body.ts';
import { apiError } from './errors.ts';
import { errorFromBody, readLines } from './ndjson.ts';
import { isProof, PROOF_HEADER, SIGNATURE_HEADER, signRequest } from './request-auth.ts';
import { type Method, STREAM_PROTOCOL } from './routes.ts';

export interface GatewayClientOptions {
  readonly port: number;
  /** The session's token, 32 bytes. */
  readonly token: Uint8Array;
  /** How long an answer may take to begin. Default 30,000 ms. */
  readonly timeoutMs?: number;
  readonly clock?: Clock;
  readonly random?: Random;
}

export interface CallOptions<Schema extends v.GenericSchema = v.GenericSchema> {
  /** Sent as JSON. */
  readonly body?: unknown;
  /** The shape of the answer, or of each item; without it the answer is `unknown`. */
  readonly schema?: Schema;
  readonly signal?: AbortSignal;
}

export interface GatewayClient {
  /** @throws ClawError the daemon's own, or a `GatewayClientErrorCode`; the signal's reason when aborted */
  request<Schema extends v.GenericSchema = v.GenericSchema>(
    method: Method,
    path: string,
    options?: CallOptions<Schema>,
  ): Promise<v.InferOutput<Schema>>;
  /** Items as they come. Leaving the loop ends the call. */
  stream<Schema extends v.GenericSchema = v.GenericSchema>(
    method: Method,
    path: string,
    options?: CallOptions<Schema>,
  ): AsyncGenerator<v.InferOutput<Schema>, void, undefined>;
  /** Raw bytes both ways. The caller destroys the stream; `signal` only ends the opening. */
  upgrade(path: string, options?: { readonly signal?: AbortSignal }): Promise<Duplex>;
}

const MAX_ANSWER_BYTES = 16 * 2 ** 20;
const UNPROVEN_HINT =
  'The daemon may have been restarted a moment ago: try again. If it persists, another program holds its port.';

type Answer = { readonly response: IncomingMessage; readonly stream?: Duplex; readonly head?: Buffer };

/** Opens nothing yet: every call has a connection of its own, so there is nothing to close. */
export function createGatewayClient(options: GatewayClientOptions): GatewayClient {
  const call = (method: string, path: string, callOptions: CallOptions, headers: Record<string, string> = {}) =>
    send(options, method, path, callOptions, headers);
  return {
    async request(method, path, callOptions = {}) {
      const { response } = await call(method, path, callOptions);
      return checkValue(callOptions.schema, await readJson(response, callOptions.signal));
    },
    async *stream(method, path, callOptions = {}) {
      const { response } = await call(method, path, callOptions);
      using _ = onAbort(callOptions.signal, (reason) => response.destroy(reason));
      try {
        for await (const item of readLines(response)) yield checkValue(callOptions.schema, item);
      } catch (error) {
        callOptions.signal?.throwIfAborted();
        throw error;
      }
    },
    async upgrade(path, callOptions = {}) {
      const { stream, head, response } = await call('GET', path, callOptions, {
        connection: 'Upgrade',
        upgrade: STREAM_PROTOCOL,
      });
      if (!stream) {
        response.destroy();
        throw apiError(
          'GATEWAY_ANSWER_INVALID',
          `the daemon answered ${response.statusCode} where it should have switched protocols`,
        );
      }
      if (head && head.length > 0) stream.unshift(head);
      return stream;
    },
  };
}

/** The proven answer to one request, its error thrown. */
async function send(
  options: GatewayClientOptions,
  method: string,
  path: string,
  { body, signal }: CallOptions,
  extra: Record<string, string>,
): Promise<Answer> {
  signal?.throwIfAborted();
  const bytes = body === undefined ? Buffer.alloc(0) : Buffer.from(JSON.stringify(body));
  if (bytes.length > MAX_BODY_BYTES)
    throw apiError('REQUEST_TOO_LARGE', `the body has ${bytes.length} bytes, at most ${MAX_BODY_BYTES} are taken`);
  const signed = signRequest(
    options.token,
    { method, target: path, body: bytes },
    options.clock ?? systemClock,
    options.random ?? systemRandom,
  );
  const request = httpRequest({
    host: '127.0.0.1',
    port: options.port,
    method,
    path,
    agent: false,
    headers: {
      host: `127.0.0.1:${options.port}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': bytes.length }),
      ...signed,
      ...extra,
    },
  });
  const answer = await firstAnswer(request, bytes, options, signal);
  const { response, stream } = answer;
  const proof = response.headers[PROOF_HEADER];
  if (!isProof(options.token, signed[SIGNATURE_HEADER] as string, typeof proof === 'string' ? proof : undefined)) {
    response.destroy();
    stream?.destroy();
    throw apiError(
      'GATEWAY_UNPROVEN',
      `what answers on port ${options.port} (status ${response.statusCode}) does not know this session`,
      {
        hint: UNPROVEN_HINT,
      },
    );
  }
  if (stream || (response.statusCode ?? 500) < 400) return answer;
  throw errorFromBody(await readJson(response, signal));
}

function firstAnswer(
  request: ClientRequest,
  body: Buffer,
  options: GatewayClientOptions,
  signal?: AbortSignal,
): Promise<Answer> {
  const timeoutMs = options.timeoutMs ?? 30_000;
  const clock = options.clock ?? systemClock;
  return new Promise<Answer>((resolve, reject) => {
    const timer = clock.setTimer(timeoutMs, () => {
      request.destroy(apiError('GATEWAY_TIMEOUT', `the daemon did not answer within ${timeoutMs} ms`));
    });
    const abort = onAbort(signal, (reason) => request.destroy(reason));
    const settle = (finish: () => void) => {
      timer.cancel();
      abort[Symbol.dispose]();
      finish();
    };
    // Stays on for good: a connection may still fail after it has answered.
    request.on('error', (error) =>
      settle(() => reject(signal?.aborted ? signal.reason : connectionError(error, options.port))),
    );
    request.once('response', (response) => settle(() => resolve({ response })));
    request.once('upgrade', (response, stream, head) => settle(() => resolve({ response, stream, head })));
    request.end(body);
  });
}

async function readJson(response: IncomingMessage, signal: AbortSignal | undefined): Promise<unknown> {
  using _ = onAbort(signal, (reason) => response.destroy(reason));
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > MAX_ANSWER_BYTES)
        throw apiError('GATEWAY_ANSWER_INVALID', `the answer has more than ${MAX_ANSWER_BYTES} bytes`);
      chunks.push(chunk);
    }
  } catch (cause) {
    signal?.throwIfAborted();
    if (cause instanceof ClawError) throw cause;
    throw apiError('GATEWAY_CUT', 'the connection ended in the middle of the answer', { cause });
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8') || 'null');
  } catch (cause) {
    throw apiError('GATEWAY_ANSWER_INVALID', 'the answer is not JSON', { cause });
  }
}

function checkValue<Schema extends v.GenericSchema>(schema: Schema | undefined, value: unknown): v.InferOutput<Schema> {
  if (!schema) return value;
  const result = v.safeParse(schema, value);
  if (result.success) return result.output;
  const [issue] = result.issues;
  throw apiError(
    'GATEWAY_ANSWER_INVALID',
    `the answer does not fit: ${v.getDotPath(issue) ?? 'value'}: ${issue.message}`,
    {
      hint: 'The daemon may run another version: restart it.',
    },
  );
}

function connectionError(cause: Error, port: number): ClawError {
  if (cause instanceof ClawError) return cause;
  if (errorCode(cause) === 'ECONNREFUSED') {
    return apiError('GATEWAY_UNREACHABLE', `no daemon listens on port ${port}`, {
      cause,
      hint: 'Start the node first.',
    });
  }
  return apiError('GATEWAY_CUT', `the connection to the daemon failed: ${errorText(cause)}`, { cause });
}

function onAbort(signal: AbortSignal | undefined, run: (reason: Error) => void): Disposable {
  const listener = () => run(signal?.reason);
  signal?.addEventListener('abort', listener, { once: true });
  return { [Symbol.dispose]: () => signal?.removeEventListener('abort', listener) };
}
