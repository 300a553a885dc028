/**
 * The documents that the local API gives out, as schemas: they check nothing at
 * run time but describe the API (OpenAPI) and name the fields, which stay stable.
 */

import * as v from 'valibot';
import { SHARE_KINDS } from '../services/protocol.ts';

const errorView = v.object({ code: v.string(), message: v.string() });
const endView = v.object({ type: v.string(), address: v.string(), port: v.number() });

const linkView = v.object({
  role: v.picklist(['client', 'server']),
  upMs: v.number(),
  roundTripMs: v.nullable(v.number()),
  bytesSent: v.number(),
  bytesReceived: v.number(),
  openStreams: v.number(),
  path: v.nullable(v.object({ protocol: v.string(), local: endView, remote: endView })),
  handshake: v.object({
    cipher: v.string(),
    keyExchange: v.string(),
    peerVersion: v.string(),
    peerIntegrity: v.string(),
  }),
  /** Milliseconds since the attempt began, by phase. */
  setup: v.record(v.string(), v.number()),
  warnings: v.array(v.string()),
});

export const peerView = v.object({
  name: v.string(),
  nodeId: v.string(),
  state: v.picklist(['linked', 'connecting', 'waiting', 'removed-by-peer']),
  words: v.string(),
  pairedAt: v.string(),
  /** False until the first link. */
  confirmed: v.boolean(),
  grants: v.array(v.string()),
  relays: v.array(v.string()),
  link: v.nullable(linkView),
  lastError: v.nullable(errorView),
  linksMade: v.number(),
});
export type PeerView = v.InferOutput<typeof peerView>;

export const shareView = v.object({
  name: v.string(),
  kind: v.picklist(SHARE_KINDS),
  target: v.string(),
  to: v.array(v.object({ name: v.string(), nodeId: v.string() })),
  openStreams: v.number(),
  served: v.number(),
});
export type ShareView = v.InferOutput<typeof shareView>;

export const forwardView = v.object({
  peer: v.string(),
  service: v.string(),
  kind: v.picklist(SHARE_KINDS),
  /** What to type into a client: `http://…` for HTTP and files, `127.0.0.1:PORT` for TCP. */
  url: v.string(),
  host: v.string(),
  port: v.number(),
  connections: v.number(),
  carried: v.number(),
});
export type ForwardView = v.InferOutput<typeof forwardView>;

export const statusView = v.object({
  name: v.string(),
  nodeId: v.string(),
  version: v.string(),
  integrity: v.string(),
  pid: v.number(),
  home: v.string(),
  uptimeMs: v.number(),
  engine: v.string(),
  memory: v.object({ rssBytes: v.number() }),
  key: v.object({ protection: v.string(), confined: v.boolean(), detail: v.string(), pid: v.nullable(v.number()) }),
  carriers: v.array(
    v.object({
      name: v.string(),
      state: v.picklist(['up', 'connecting', 'down']),
      detail: v.string(),
      envelopesSent: v.number(),
      envelopesReceived: v.number(),
      bytesSent: v.number(),
      bytesReceived: v.number(),
    }),
  ),
  peers: v.array(peerView),
  shares: v.array(shareView),
  forwards: v.array(forwardView),
  settings: v.object({ warnings: v.array(v.string()), error: v.nullable(v.string()) }),
});
export type StatusView = v.InferOutput<typeof statusView>;

export const doctorView = v.object({
  checks: v.array(
    v.object({
      name: v.string(),
      state: v.picklist(['ok', 'warn', 'fail']),
      detail: v.string(),
      /** What to type or do. */
      fix: v.optional(v.string()),
    }),
  ),
});
export type DoctorView = v.InferOutput<typeof doctorView>;

export const catalogView = v.object({
  services: v.array(v.object({ name: v.string(), kind: v.picklist(SHARE_KINDS) })),
});

export const sendEventView = v.union([
  v.object({
    progress: v.object({
      phase: v.picklist(['hashing', 'sending', 'waiting']),
      name: v.string(),
      done: v.number(),
      size: v.number(),
      resumedAt: v.optional(v.number()),
    }),
  }),
  v.object({
    sent: v.object({
      name: v.string(),
      size: v.number(),
      sha256: v.string(),
      storedAs: v.string(),
      resumedAt: v.number(),
    }),
  }),
]);
