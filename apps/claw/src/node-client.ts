/**
 * The verbs' way to the daemon. Answers are taken as the types that the API
 * documents: client and daemon are one package, and every answer is proven to
 * come from the daemon.
 */

import type { Duplex } from 'node:stream';
import { createGatewayClient, type readSession } from '@claw/gateway';

type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';

export interface CallOptions {
  readonly signal?: AbortSignal;
  /** How long the answer may take to begin. Default 30,000 ms. */
  readonly timeoutMs?: number;
}

type Session = Awaited<ReturnType<typeof readSession>>;

export class NodeClient {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  async request<T>(method: Method, path: string, body?: unknown, options: CallOptions = {}): Promise<T> {
    return (await this.#client(options).request(method, path, callOptions(body, options))) as T;
  }

  stream<T>(method: Method, path: string, body: unknown, options: CallOptions = {}): AsyncIterable<T> {
    return this.#client(options).stream(method, path, callOptions(body, options)) as AsyncIterable<T>;
  }

  upgrade(path: string, options: CallOptions = {}): Promise<Duplex> {
    return this.#client(options).upgrade(path, options.signal ? { signal: options.signal } : {});
  }

  #client({ timeoutMs }: CallOptions) {
    const { port, token } = this.#session;
    return createGatewayClient({ port, token, ...(timeoutMs !== undefined && { timeoutMs }) });
  }
}

function callOptions(body: unknown, { signal }: CallOptions) {
  return { ...(body !== undefined && { body }), ...(signal && { signal }) };
}
