/** Nodes with real keys and real TLS over the memory engine, for the tests of this package. */

import { generateKeyPairSync } from 'node:crypto';
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';
import { type Clock, type Random, silentLogger } from '@claw/base';
import type { NodeId, RtcEngine, RuntimeFacts } from '@claw/contracts';
import { NodeKey } from '@claw/identity';
import { type MemoryRtcNetwork, seededRandom, type VirtualClock } from '@claw/testkit';
import type { AttemptMessage } from '../src/connect/attempt-messages.ts';
import type { Link } from '../src/connect/link.ts';
import { LinkAttempt, type LinkEnvironment } from '../src/connect/link-attempt.ts';
import { NonceBook } from '../src/handshake/nonce-book.ts';
import { DEFAULT_SESSION_LIMITS } from '../src/session/limits.ts';

export const FACTS: RuntimeFacts = { integrity: 'a'.repeat(64), version: '1.0.0' };

/** A TLS context over a new leaf of `key`; what `options` says overrides. */
export async function makeContext(
  key: Pick<NodeKey, 'issueLeaf'>,
  options: SecureContextOptions = {},
): Promise<SecureContext> {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const leaf = await key.issueLeaf(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32), 600_000);
  const cert = `-----BEGIN CERTIFICATE-----\n${Buffer.from(leaf).toString('base64')}\n-----END CERTIFICATE-----\n`;
  return createSecureContext({
    key: privateKey.export({ format: 'pem', type: 'pkcs8' }),
    cert,
    minVersion: 'TLSv1.3',
    ca: [],
    ...options,
  });
}

export function makeKey(seed: number, clock: Clock, facts = FACTS): NodeKey {
  return new NodeKey(seededRandom(seed).bytes(32), facts, clock);
}

/** What a test sees of every message that an engine sends. */
export type Tap = (lane: number, data: Uint8Array) => void;

/** `network`'s engine with descriptions that carry a DTLS fingerprint, and with a tap on its channels. */
export function tappedEngine(network: MemoryRtcNetwork, random: Random, tap: Tap = () => {}): RtcEngine {
  return {
    name: 'tapped memory',
    createPeerConnection(configuration) {
      const connection = network.engine.createPeerConnection(configuration);
      const fingerprint = random.bytes(32).toString('hex').toUpperCase().match(/../g)?.join(':');
      const line = `a=fingerprint:sha-256 ${fingerprint}\r\n`;
      const setLocal = connection.setLocalDescription.bind(connection);
      const setRemote = connection.setRemoteDescription.bind(connection);
      const createChannel = connection.createDataChannel.bind(connection);
      return Object.assign(connection, {
        setLocalDescription: async () => {
          const { type, sdp } = await setLocal();
          return { type, sdp: sdp + line };
        },
        setRemoteDescription: ({ type, sdp }: Parameters<typeof setRemote>[0]) =>
          setRemote({ type, sdp: sdp.replace(/a=fingerprint.*\r\n/g, '') }),
        createDataChannel: (...args: Parameters<typeof createChannel>) => {
          const channel = createChannel(...args);
          const send = channel.send.bind(channel);
          return Object.assign(channel, {
            send: (data: Uint8Array) => {
              tap(args[1].id, data);
              send(data);
            },
          });
        },
      });
    },
  };
}

/** Lets time pass, and TLS and other event-loop work go on, until `condition` holds. */
export async function runUntil(clock: VirtualClock, condition: () => boolean, limitMs = 60_000): Promise<void> {
  const endMs = clock.monotonicMs() + limitMs;
  for (let turn = 0; !condition(); turn += 1) {
    if (clock.monotonicMs() > endMs) throw new Error(`it did not happen within ${limitMs} ms of virtual time`);
    // TLS takes turns of the event loop and no time: give it some before time moves on.
    for (let idle = 0; idle < 8 && !condition(); idle += 1) await new Promise((resolve) => setImmediate(resolve));
    await clock.advance(Math.min(5 + turn / 10, 100));
  }
}

export async function runSettled<T>(clock: VirtualClock, promise: Promise<T>, limitMs?: number): Promise<T> {
  let done = false;
  const note = () => {
    done = true;
  };
  promise.then(note, note);
  await runUntil(clock, () => done, limitMs);
  return promise;
}

export interface SideOptions {
  /** Its node key; who it says it is. */
  readonly key?: NodeKey;
  readonly environment?: Partial<LinkEnvironment>;
}

export interface AttemptPairOptions {
  readonly clock?: VirtualClock;
  readonly network: MemoryRtcNetwork;
  readonly client?: SideOptions;
  readonly server?: SideOptions;
  readonly tap?: Tap;
  readonly deadlineMs?: number;
  /** What a message becomes on its way; `undefined` is lost. */
  readonly carry?: (
    message: AttemptMessage,
    from: 'client' | 'server',
  ) => AttemptMessage | AttemptMessage[] | undefined;
}

export interface AttemptOutcome {
  readonly client: PromiseSettledResult<Link>;
  readonly server: PromiseSettledResult<Link>;
}

/** Runs one attempt between two nodes to its end on both sides. */
export async function runAttempt(clock: VirtualClock, options: AttemptPairOptions): Promise<AttemptOutcome> {
  const keys = { client: options.client?.key ?? makeKey(1, clock), server: options.server?.key ?? makeKey(2, clock) };
  const random = seededRandom(7);
  const carry = options.carry ?? ((message) => message);
  const answered = Promise.withResolvers<LinkAttempt>();
  let server: LinkAttempt | undefined;
  const deadlineMs = options.deadlineMs ?? 15_000;
  const side = (from: 'client' | 'server') => {
    const peer: NodeId = keys[from === 'client' ? 'server' : 'client'].nodeId;
    const environment: LinkEnvironment = {
      keyHolder: keys[from],
      certificates: { take: () => makeContext(keys[from]) },
      engine: tappedEngine(options.network, random, options.tap),
      rtc: () => ({}),
      policy: () => ({ integrity: 'warn' }),
      nonces: new NonceBook(clock, random),
      limits: DEFAULT_SESSION_LIMITS,
      clock,
      logger: silentLogger,
      onIncoming: () => {},
      ...options[from]?.environment,
    };
    const post = async (sent: AttemptMessage) => {
      const carried = carry(sent, from) ?? [];
      for (const message of Array.isArray(carried) ? carried : [carried]) setImmediate(() => arrive(message, from));
      return { sequence: 0, expiresAtMs: 0, carriers: 1, resend: () => 1 };
    };
    return { environment, id: Buffer.alloc(16, 9), peer, post, deadlineMs };
  };
  const arrive = (message: AttemptMessage, from: 'client' | 'server') => {
    if (from === 'server') return client.receive(message);
    if (message.kind === 'link.offer' && !server) {
      server = LinkAttempt.answer(side('server'), message);
      answered.resolve(server);
    } else server?.receive(message);
  };
  const client = LinkAttempt.offer(side('client'));
  const both = Promise.allSettled([client.link, answered.promise.then((attempt) => attempt.link)]);
  const [clientOutcome, serverOutcome] = await runSettled(clock, both);
  return { client: clientOutcome, server: serverOutcome };
}

/** The codes with which both sides ended, or `linked`. */
export function codesOf({ client, server }: AttemptOutcome): [client: string, server: string] {
  const codeOf = (outcome: PromiseSettledResult<Link>) =>
    outcome.status === 'fulfilled' ? 'linked' : outcome.reason.code;
  return [codeOf(client), codeOf(server)];
}
