/** A share without a link: the two ends of a stream in memory, and HTTP spoken on one of them. */

import { once } from 'node:events';
import { Agent, request as httpRequest, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import { type Duplex, duplexPair } from 'node:stream';
import { silentLogger } from '@claw/base';
import type { LinkStream } from '@claw/link';
import type { Share } from '../src/services/share.ts';
import { readAll } from './node-pair.ts';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

export interface AskOptions {
  readonly method?: string;
  readonly headers?: OutgoingHttpHeaders;
  readonly body?: string | Buffer;
  readonly agent?: Agent;
}

/** A stream of `peer` that `share` serves. */
export function openOn(share: Share, peer = 'laptop'): Duplex {
  const [near, far] = duplexPair();
  near.on('error', () => {});
  far.on('error', () => {});
  void share.serve(() => far as LinkStream, { name: 'test', peer, logger: silentLogger });
  return near;
}

/** One request on a stream of its own. */
export async function ask(share: Share, path: string, options: AskOptions = {}): Promise<Answer> {
  const { method = 'GET', headers = {}, body } = options;
  const agent = options.agent ?? agentOn(share, 1);
  const request = httpRequest({ path, method, headers, agent });
  request.end(body);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  const bytes = await readAll(response);
  if (!options.agent) agent.destroy();
  return { status: response.statusCode ?? 0, headers: response.headers, body: String(bytes) };
}

/** An agent whose connections are streams of `share`. */
export function agentOn(share: Share, maxSockets: number): Agent {
  const agent = new Agent({ keepAlive: true, maxSockets });
  const asSocket = { setKeepAlive() {}, setTimeout() {}, setNoDelay() {}, ref() {}, unref() {} };
  agent.createConnection = () => Object.assign(openOn(share), asSocket);
  return agent;
}

/** What comes back for `text`, written as it is, until the other side ends. */
export async function askRaw(share: Share, text: string | Buffer): Promise<string> {
  const stream = openOn(share);
  stream.write(text);
  return String(await readAll(stream));
}
