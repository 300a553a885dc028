/** Routes about what is lent, what is used and what is sent. */

import { isAbsolute } from 'node:path';
import { pipeline } from 'node:stream/promises';
import * as v from 'valibot';
import { type Route, route, streamRoute, type UpgradeRoute } from '../api/routes.ts';
import { nodeError } from '../errors.ts';
import { SHARE_PREFIX } from '../services/protocol.ts';
import { type SendProgress, type SentFile, sendFile } from '../transfer/send-file.ts';
import { describeForward, describeShare } from './describe.ts';
import type { Node } from './node.ts';
import { catalogView, forwardView, sendEventView, shareView } from './views.ts';

const serviceBody = v.variant('kind', [
  v.object({ kind: v.literal('tcp'), target: v.string() }),
  v.object({ kind: v.literal('http'), target: v.string() }),
  v.object({ kind: v.literal('mcp'), command: v.array(v.string()) }),
  v.object({ kind: v.literal('files'), directory: v.string() }),
]);

export function serviceRoutes(node: Node): Route[] {
  return [
    route({
      method: 'GET',
      path: '/v1/shares',
      summary: 'What this node lends.',
      response: v.array(shareView),
      handle: () => node.shares.status().map((share) => describeShare(node, share)),
    }),
    route({
      method: 'PUT',
      path: '/v1/shares/:name',
      summary: 'Lend a service, or lend a present one to more peers.',
      body: v.object({ service: v.optional(serviceBody), to: v.array(v.string()) }),
      response: shareView,
      handle: async ({ params, body }) => {
        await node.lend(params['name'] ?? '', body.service, body.to);
        return describeShare(node, shareOf(node, params['name']));
      },
    }),
    route({
      method: 'DELETE',
      path: '/v1/shares/:name',
      summary: 'Stop lending a service; its streams are cut.',
      response: shareView,
      handle: async ({ params }) => {
        const view = describeShare(node, shareOf(node, params['name']));
        await node.edit([{ path: ['services', view.name], value: undefined }]);
        return view;
      },
    }),
    route({
      method: 'GET',
      path: '/v1/peers/:peer/services',
      summary: 'What a peer lends to this node.',
      response: catalogView,
      handle: ({ params, signal }) => node.catalogOf(node.peers.find(params['peer'] ?? ''), signal),
    }),
    route({
      method: 'GET',
      path: '/v1/forwards',
      summary: 'Services of peers that are open here.',
      response: v.array(forwardView),
      handle: () => [...node.forwards.values()].map(describeForward),
    }),
    route({
      method: 'POST',
      path: '/v1/forwards',
      summary: 'Open a service of a peer on a loopback port.',
      body: v.object({ peer: v.string(), service: v.string(), listen: v.optional(v.string()) }),
      response: forwardView,
      errors: { FORWARD_PORT_TAKEN: 409 },
      handle: async ({ body }) => {
        const peer = node.peers.find(body.peer);
        return describeForward(
          await node.use(peer, body.service, body.listen === undefined ? {} : parseListen(body.listen)),
        );
      },
    }),
    route({
      method: 'DELETE',
      path: '/v1/forwards/:peer/:service',
      summary: 'Close it again.',
      response: forwardView,
      handle: async ({ params }) => {
        const peer = node.peers.find(params['peer'] ?? '');
        const key = `${peer.id}/${params['service']}`;
        const forward = node.forwards.get(key);
        if (!forward) throw nodeError('FORWARD_UNKNOWN', `${peer.name}/${params['service']} is not open here`);
        node.forwards.delete(key);
        await forward.close();
        return describeForward(forward);
      },
    }),
    streamRoute({
      method: 'POST',
      path: '/v1/send',
      summary: 'Send a file of this machine to a peer’s inbox; progress, then the result.',
      body: v.object({ peer: v.string(), path: v.pipe(v.string(), v.check(isAbsolute, 'expected an absolute path')) }),
      response: sendEventView,
      handle: ({ body, signal }) => sendEvents(node, body.peer, body.path, signal),
    }),
  ];
}

export function serviceUpgrades(node: Node): UpgradeRoute[] {
  return [
    {
      path: '/v1/streams',
      summary: 'One stream on a share of a peer, as raw bytes: ?peer=NAME&service=NAME.',
      open: async ({ query, signal }) => {
        const peer = node.peers.find(query.get('peer') ?? '');
        const link = await node.keeper.linkTo(peer.id, { signal });
        const stream = link.openStream(SHARE_PREFIX + (query.get('service') ?? ''));
        await stream.accepted;
        return async (socket) => {
          const ended = await Promise.allSettled([pipeline(socket, stream), pipeline(stream, socket)]);
          const failed = ended.find((result) => result.status === 'rejected');
          if (failed) throw failed.reason as Error;
        };
      },
    },
  ];
}

/** Progress at the reader's pace: only the newest state waits for a slow one. */
async function* sendEvents(node: Node, peerName: string, path: string, signal: AbortSignal) {
  let latest: SendProgress | undefined;
  let wake = () => {};
  const finished: { sent?: SentFile; error?: Error } = {};
  const peer = node.peers.find(peerName);
  const onProgress = (progress: SendProgress) => {
    latest = progress;
    wake();
  };
  const running = sendFile({ keeper: node.keeper, peer, path, signal, onProgress, logger: node.logger }).then(
    (sent) => (finished.sent = sent),
    (error: Error) => (finished.error = error),
  );
  void running.finally(() => wake());
  while (!finished.sent && finished.error === undefined) {
    if (latest) yield { progress: latest };
    latest = undefined;
    await new Promise<void>((resolve) => {
      wake = resolve;
      if (latest || finished.sent || finished.error !== undefined) resolve();
    });
  }
  if (finished.error) throw finished.error;
  if (finished.sent) yield { sent: finished.sent };
}

function shareOf(node: Node, name: string | undefined) {
  const share = node.shares.status().find((candidate) => candidate.name === name);
  if (!share) throw nodeError('SERVICE_UNKNOWN', `this node lends nothing called "${name}"`);
  return share;
}

/** `HOST:PORT`, `[IPV6]:PORT` or `PORT`. */
function parseListen(text: string): { host?: string; port: number } {
  const match = /^(?:(?:\[([^\]]+)\]|([^:]+)):)?(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 65_535) throw nodeError('SERVICE_INVALID', `"${text}" is not an address such as 127.0.0.1:8080`);
  const host = match[1] ?? match[2];
  return host === undefined ? { port } : { host, port };
}
