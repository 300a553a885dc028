/** Two sessions over the memory engine in virtual time, for the tests of this package. */

import type { ClawError } from '@claw/base';
import type { RtcDataChannel } from '@claw/contracts';
import { MemoryRtcNetwork, type MemoryRtcOptions, seededRandom, VirtualClock } from '@claw/testkit';
import type { IncomingChannel } from '../src/session/incoming-channel.ts';
import { LANE_IDS, laneChannel } from '../src/session/lanes.ts';
import { DEFAULT_SESSION_LIMITS, type SessionLimits } from '../src/session/limits.ts';
import type { LinkStream } from '../src/session/link-stream.ts';
import { Session } from '../src/session/session.ts';

export interface SessionEnd {
  readonly session: Session;
  readonly lanes: ReadonlyMap<number, RtcDataChannel>;
  /** Channels that the peer opened, oldest first. */
  readonly incoming: IncomingChannel[];
  onIncoming: (channel: IncomingChannel) => void;
  closed: ClawError | undefined;
}

export interface SessionPair {
  readonly clock: VirtualClock;
  readonly network: MemoryRtcNetwork;
  readonly left: SessionEnd;
  readonly right: SessionEnd;
  /** Lets time pass until `condition` holds. */
  until(condition: () => boolean, limitMs?: number): Promise<void>;
  /** Lets time pass until `promise` settles. */
  settled<T>(promise: Promise<T>, limitMs?: number): Promise<T>;
}

export interface SessionPairOptions extends Omit<MemoryRtcOptions, 'clock'> {
  readonly limits?: Partial<SessionLimits>;
}

export async function openSessionPair(options: SessionPairOptions = {}): Promise<SessionPair> {
  const clock = new VirtualClock();
  const onHandlerError = (error: unknown) => {
    throw error;
  };
  const network = new MemoryRtcNetwork({ onHandlerError, ...options, clock });
  const connections = [network.engine.createPeerConnection({}), network.engine.createPeerConnection({})] as const;
  const lanes = connections.map(
    (connection) =>
      new Map(
        LANE_IDS.map((lane) => {
          const { label, init } = laneChannel(lane);
          return [lane, connection.createDataChannel(label, init)] as const;
        }),
      ),
  ) as [Map<number, RtcDataChannel>, Map<number, RtcDataChannel>];
  await connections[1].setRemoteDescription(await connections[0].setLocalDescription());
  await connections[0].setRemoteDescription(await connections[1].setLocalDescription());
  await clock.advance(10 * ((options.delayMs ?? 0) + 1));
  const limits = { ...DEFAULT_SESSION_LIMITS, ...options.limits };
  const random = seededRandom(options.seed ?? 1);
  const secrets = [random.bytes(32), random.bytes(32)] as const;
  const left = openEnd(
    'client',
    lanes[0],
    { send: Buffer.from(secrets[0]), receive: Buffer.from(secrets[1]) },
    limits,
    clock,
  );
  const right = openEnd(
    'server',
    lanes[1],
    { send: Buffer.from(secrets[1]), receive: Buffer.from(secrets[0]) },
    limits,
    clock,
  );
  const until = async (condition: () => boolean, limitMs = 30_000) => {
    const endMs = clock.monotonicMs() + limitMs;
    for (let stepMs = 0; !condition(); stepMs = Math.min(50, stepMs + 1)) {
      if (clock.monotonicMs() > endMs) throw new Error(`it did not happen within ${limitMs} ms of virtual time`);
      await clock.advance(stepMs);
    }
  };
  const settled = async <T>(promise: Promise<T>, limitMs?: number) => {
    let done = false;
    const note = () => {
      done = true;
    };
    promise.then(note, note);
    await until(() => done, limitMs);
    return promise;
  };
  return { clock, network, left, right, until, settled };
}

function openEnd(
  role: 'client' | 'server',
  lanes: ReadonlyMap<number, RtcDataChannel>,
  secrets: { send: Buffer; receive: Buffer },
  limits: SessionLimits,
  clock: VirtualClock,
): SessionEnd {
  const incoming: IncomingChannel[] = [];
  const session = new Session({
    role,
    channels: lanes,
    secrets,
    limits,
    clock,
    onCleartext: () => {},
    onPeerOperational: () => {},
    onIncoming: (channel) => {
      incoming.push(channel);
      end.onIncoming(channel);
    },
    onClosed: (error) => {
      end.closed = error;
    },
  });
  const end: SessionEnd = { session, lanes, incoming, onIncoming: () => {}, closed: undefined };
  return end;
}

/** Opens a stream and accepts it at the other end. */
export async function openStreamPair(pair: SessionPair, service = 'test'): Promise<[LinkStream, LinkStream]> {
  const before = pair.right.incoming.length;
  const near = pair.left.session.openStream(service);
  await pair.until(() => pair.right.incoming.length > before);
  const far = pair.right.incoming[before]?.acceptStream() as LinkStream;
  await pair.settled(near.accepted);
  return [near, far];
}

/** Everything that comes out of `stream`, once it has ended. */
export async function readAll(stream: LinkStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** Bytes that differ from place to place, so that a mix-up shows. */
export function pattern(length: number, seed = 1): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let at = 0; at < length; at += 1) bytes[at] = (at * 31 + (at >> 8) * 7 + seed * 101) & 255;
  return bytes;
}
