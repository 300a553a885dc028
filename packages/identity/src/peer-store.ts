/**
 * The peers that this node is paired with, in `peers.json`: the only list of
 * keys that it trusts. One process writes it; every change is on the disk,
 * whole, before it counts.
 */

import { join } from 'node:path';
import { ClawError, errorText, readFileIfPresent, writeFileAtomic } from '@claw/base';
import { isNodeId, type NodeId } from '@claw/contracts';
import * as v from 'valibot';
import type { IdentityErrorCode } from './errors.ts';

export const PEER_NAME_PATTERN = /^[a-zA-Z0-9][a-zA-Z0-9._-]{0,31}$/;

const nodeId = v.custom<NodeId>((value) => typeof value === 'string' && isNodeId(value), 'expected a node id');

const peerSchema = v.strictObject({
  id: nodeId,
  name: v.pipe(v.string(), v.regex(PEER_NAME_PATTERN)),
  /** X25519 public key to seal envelopes to, base64. */
  sealingKey: v.pipe(v.string(), v.base64(), v.length(44)),
  /** Relays on which the peer can be reached. */
  relays: v.array(v.string()),
  /** What the peer may do here besides using services shared with it. */
  grants: v.array(v.picklist(['send'])),
  /** Verification words of the pairing. */
  words: v.string(),
  pairedAtMs: v.number(),
  /** False until the first link: the other side may not have finished pairing. */
  confirmed: v.boolean(),
  /** `removed`: by us, kept so that the peer can be told. `removed-by-peer`: it unpaired from us. */
  state: v.picklist(['paired', 'removed', 'removed-by-peer']),
});
const fileSchema = v.strictObject({ version: v.literal(1), peers: v.array(peerSchema) });

export type PeerRecord = Readonly<v.InferOutput<typeof peerSchema>>;
export type Grant = PeerRecord['grants'][number];

/** Tombstones kept; the oldest go first. */
const MAX_REMOVED = 256;

export class PeerStore {
  readonly #path: string;
  #peers: Map<NodeId, PeerRecord>;
  #writing: Promise<void> = Promise.resolve();

  private constructor(path: string, peers: readonly PeerRecord[]) {
    this.#path = path;
    this.#peers = new Map(peers.map((peer) => [peer.id, peer]));
  }

  /** @throws ClawError `PEERS_FILE_INVALID`; the file is left as it is. */
  static async open(home: string): Promise<PeerStore> {
    const path = join(home, 'peers.json');
    const content = await readFileIfPresent(path);
    return new PeerStore(path, content ? parsePeers(path, content.toString('utf8')) : []);
  }

  /** Every peer that is or was paired from the other side's view too; not those removed here. */
  list(): PeerRecord[] {
    return [...this.#peers.values()].filter((peer) => peer.state !== 'removed');
  }

  /** The record of `id`, removed ones included. */
  get(id: NodeId): PeerRecord | undefined {
    return this.#peers.get(id);
  }

  /**
   * The one peer that `text` means: its name, its node id, or six or more first characters of the id.
   * @throws ClawError `PEER_UNKNOWN` or `PEER_AMBIGUOUS`.
   */
  find(text: string): PeerRecord {
    const peers = this.list();
    const exact = peers.find((peer) => peer.name === text || peer.id === text);
    if (exact) return exact;
    const matches = text.length >= 6 ? peers.filter((peer) => peer.id.startsWith(text.toLowerCase())) : [];
    if (matches.length === 1) return matches[0] as PeerRecord;
    if (matches.length > 1) throw fault('PEER_AMBIGUOUS', `"${text}" begins ${matches.length} node ids`);
    const known = peers.map((peer) => peer.name).join(', ');
    throw fault(
      'PEER_UNKNOWN',
      `there is no peer "${text}"`,
      known ? `Peers are: ${known}.` : 'No peer is paired yet: "claw pair --new".',
    );
  }

  /** A name that no other peer has, made from `wanted`. */
  freeName(wanted: string, id: NodeId): string {
    const base = PEER_NAME_PATTERN.test(wanted) ? wanted : `peer-${id.slice(0, 6)}`;
    const taken = new Set(this.list().flatMap((peer) => (peer.id === id ? [] : peer.name)));
    for (let number = 1; ; number += 1) {
      const name = number === 1 ? base : `${base.slice(0, 28)}-${number}`;
      if (!taken.has(name)) return name;
    }
  }

  /** Adds or replaces a record; durable when it resolves. */
  async put(peer: PeerRecord): Promise<void> {
    await this.#change((peers) => peers.set(peer.id, v.parse(peerSchema, peer)));
  }

  /** Changes fields of a known peer; does nothing for an unknown one. */
  async update(id: NodeId, change: Partial<Omit<PeerRecord, 'id'>>): Promise<void> {
    await this.#change((peers) => {
      const peer = peers.get(id);
      if (peer) peers.set(id, { ...peer, ...change });
    });
  }

  /** One change after the other; memory follows the disk. */
  #change(apply: (peers: Map<NodeId, PeerRecord>) => void): Promise<void> {
    const done = this.#writing.then(async () => {
      const peers = new Map(this.#peers);
      apply(peers);
      const removed = [...peers.values()].filter((peer) => peer.state === 'removed');
      for (const peer of removed.slice(0, -MAX_REMOVED)) peers.delete(peer.id);
      await writeFileAtomic(this.#path, `${JSON.stringify({ version: 1, peers: [...peers.values()] }, null, 2)}\n`);
      this.#peers = peers;
    });
    this.#writing = done.catch(() => {});
    return done;
  }
}

function parsePeers(path: string, text: string): readonly PeerRecord[] {
  try {
    return v.parse(fileSchema, JSON.parse(text)).peers;
  } catch (cause) {
    throw fault(
      'PEERS_FILE_INVALID',
      `${path} cannot be used: ${errorText(cause)}`,
      'Mend it or move it away; then pair again.',
    );
  }
}

function fault(code: IdentityErrorCode, message: string, hint?: string) {
  return new ClawError<IdentityErrorCode>(code, message, hint === undefined ? {} : { hint });
}
