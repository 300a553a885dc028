/**
 * A peer that holds valid keys and breaks every rule. Each offence ends its own
 * link with its own code, told to the peer too, at a bounded cost.
 */

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { ClawError } from '@claw/base';
import type { RtcDataChannel } from '@claw/contracts';
import { VirtualClock } from '@claw/testkit';
import { describe, expect, test } from 'vitest';
import { fromWireCode } from '../src/errors.ts';
import { LaneOpener } from '../src/seal/lane-opener.ts';
import { LaneSealer } from '../src/seal/lane-sealer.ts';
import { decodeFrame, encodeFrame, payloadHead } from '../src/session/frames.ts';
import type { IncomingChannel } from '../src/session/incoming-channel.ts';
import { BULK_LANE, CONTROL_LANE, LANE_IDS, laneReliability } from '../src/session/lanes.ts';
import { DEFAULT_SESSION_LIMITS, type SessionLimits } from '../src/session/limits.ts';
import type { LinkStream } from '../src/session/link-stream.ts';
import { Session } from '../src/session/session.ts';
import { openSessionPair, openStreamPair, pattern, readAll } from './session-pair.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;
const MIB = 1024 * 1024;
const THERE = Buffer.alloc(32, 1);
const BACK = Buffer.alloc(32, 2);

/** A lane of the victim whose far end is in the attacker's hand. */
class AttackedLane implements RtcDataChannel {
  readonly id: number;
  readonly label = '';
  readonly readyState = 'open';
  readonly sent: Buffer[] = [];
  bufferedAmount = 0;
  bufferedAmountLowThreshold = 0;
  onopen = null;
  onmessage: ((data: Uint8Array) => void) | null = null;
  onbufferedamountlow: (() => void) | null = null;
  onclose: (() => void) | null = null;
  onerror = null;
  readonly #reads: () => boolean;

  constructor(id: number, reads: () => boolean) {
    this.id = id;
    this.#reads = reads;
  }

  send(data: Uint8Array): void {
    if (this.#reads()) this.sent.push(Buffer.from(data));
    else this.bufferedAmount += data.length;
  }

  close(): void {}
}

class Attacker {
  readonly clock = new VirtualClock();
  readonly lanes = new Map(LANE_IDS.map((id) => [id, new AttackedLane(id, () => this.reads)]));
  readonly victim: Session;
  readonly incoming: IncomingChannel[] = [];
  onIncoming: (channel: IncomingChannel) => void = () => {};
  reads = true;
  ended: ClawError | undefined;
  readonly #sealers = LANE_IDS.map((id) => new LaneSealer(THERE, id));

  constructor(limits: Partial<SessionLimits> = {}) {
    this.victim = new Session({
      role: 'server',
      channels: this.lanes,
      secrets: { send: Buffer.from(BACK), receive: Buffer.from(THERE) },
      limits: { ...DEFAULT_SESSION_LIMITS, ...limits },
      clock: this.clock,
      onCleartext: () => {},
      onPeerOperational: () => {},
      onIncoming: (channel) => this.onIncoming(channel),
      onClosed: (error) => {
        this.ended = error;
      },
    });
  }

  /** Delivers `plain`, soundly sealed. */
  say(lane: number, plain: Uint8Array): void {
    this.deliver(lane, (this.#sealers[lane] as LaneSealer).seal(plain, [], 0));
  }

  deliver(lane: number, record: Uint8Array): void {
    this.lanes.get(lane)?.onmessage?.(record);
  }

  seal(lane: number, plain: Uint8Array): Buffer {
    return Buffer.from((this.#sealers[lane] as LaneSealer).seal(plain, [], 0));
  }

  open(channel: number, kind: 'stream' | 'message' = 'stream'): void {
    this.say(BULK_LANE, encodeFrame({ type: 'open', channel, kind, service: 'x', meta: Buffer.alloc(0) }));
  }

  data(channel: number, payload: Uint8Array): void {
    this.say(BULK_LANE, Buffer.concat([payloadHead('data', channel), payload]));
  }

  message(lane: number, channel: number, payload: Uint8Array, type: 'message' | 'messagePart' = 'message'): void {
    this.say(lane, Buffer.concat([payloadHead(type, channel), payload]));
  }

  /** The code that the victim gave for the end, as its peer reads it. */
  told(): string | undefined {
    const opener = new LaneOpener(BACK, CONTROL_LANE, laneReliability(CONTROL_LANE));
    const frames = (this.lanes.get(CONTROL_LANE)?.sent ?? []).map((record) =>
      decodeFrame(opener.open(record) as Buffer),
    );
    const last = frames.at(-1);
    return last?.type === 'close' ? fromWireCode(last.code, 'LINK_CLOSED_BY_PEER') : undefined;
  }

  /** Repeats `offence` until the link ends, `most` times at most; returns how often. */
  repeat(most: number, offence: (turn: number) => void): number {
    for (let turn = 0; turn < most; turn += 1) {
      if (this.ended) return turn;
      offence(turn);
    }
    return most;
  }
}

/** Bytes in use, in the JavaScript heap and outside of it. */
function memoryInUse(): number {
  collectGarbage();
  collectGarbage(); // array buffers are freed in the background; the second run waits for the first
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external; // external counts array buffers as well
}

const FRAME_CASES: readonly [what: string, code: string, offence: (attacker: Attacker) => void][] = [
  ['sends an unknown frame', 'LINK_PROTOCOL_VIOLATED', (a) => a.say(BULK_LANE, Buffer.from([0x7f, 1]))],
  ['sends an empty frame', 'LINK_PROTOCOL_VIOLATED', (a) => a.say(BULK_LANE, Buffer.alloc(0))],
  ['sends a cut frame', 'LINK_PROTOCOL_VIOLATED', (a) => a.say(CONTROL_LANE, Buffer.from([0x04, 0xc0]))],
  [
    'sends a number beyond 2^53',
    'LINK_PROTOCOL_VIOLATED',
    (a) => a.say(CONTROL_LANE, Buffer.from([0x02, ...Array(8).fill(0xff)])),
  ],
  [
    'opens on the control lane',
    'LINK_PROTOCOL_VIOLATED',
    (a) =>
      a.say(
        CONTROL_LANE,
        encodeFrame({ type: 'open', channel: 1, kind: 'stream', service: '', meta: Buffer.alloc(0) }),
      ),
  ],
  ['pings on the bulk lane', 'LINK_PROTOCOL_VIOLATED', (a) => a.say(BULK_LANE, encodeFrame({ type: 'ping', id: 1 }))],
  [
    'closes on a lossy lane',
    'LINK_PROTOCOL_VIOLATED',
    (a) => a.say(4, encodeFrame({ type: 'close', code: 0, reason: '' })),
  ],
  [
    'sends a message on the control lane',
    'LINK_PROTOCOL_VIOLATED',
    (a) => (a.open(1, 'message'), a.message(CONTROL_LANE, 1, Buffer.alloc(1))),
  ],
  [
    'sends a part on an unordered lane',
    'LINK_PROTOCOL_VIOLATED',
    (a) => (a.open(1, 'message'), a.message(2, 1, Buffer.alloc(1), 'messagePart')),
  ],
  [
    'sends a part on a lossy lane',
    'LINK_PROTOCOL_VIOLATED',
    (a) => (a.open(1, 'message'), a.message(4, 1, Buffer.alloc(1), 'messagePart')),
  ],
  ['uses a channel that was never opened', 'LINK_PROTOCOL_VIOLATED', (a) => a.data(1, Buffer.alloc(1))],
  ["uses a channel of the victim's that was never opened", 'LINK_PROTOCOL_VIOLATED', (a) => a.data(2, Buffer.alloc(1))],
  ['uses channel 0', 'LINK_PROTOCOL_VIOLATED', (a) => a.data(0, Buffer.alloc(1))],
  ['opens a channel twice', 'LINK_PROTOCOL_VIOLATED', (a) => (a.open(1), a.open(1))],
  [
    'opens a channel again that ended',
    'LINK_PROTOCOL_VIOLATED',
    (a) => (a.open(1), a.say(BULK_LANE, encodeFrame({ type: 'reset', channel: 1, code: 32, reason: '' })), a.open(1)),
  ],
  ['opens a lower channel', 'LINK_PROTOCOL_VIOLATED', (a) => (a.open(9), a.open(3))],
  ["opens one of the victim's numbers", 'LINK_PROTOCOL_VIOLATED', (a) => a.open(2)],
  [
    'sends data on a message channel',
    'LINK_PROTOCOL_VIOLATED',
    (a) => (a.open(1, 'message'), a.data(1, Buffer.alloc(1))),
  ],
  [
    'ends a message channel',
    'LINK_PROTOCOL_VIOLATED',
    (a) => (a.open(1, 'message'), a.say(BULK_LANE, encodeFrame({ type: 'end', channel: 1 }))),
  ],
  [
    'sends a message on a stream',
    'LINK_PROTOCOL_VIOLATED',
    (a) => (a.open(1), a.message(BULK_LANE, 1, Buffer.alloc(1))),
  ],
  [
    'sends data after its end',
    'LINK_FLOW_VIOLATED',
    (a) => (a.open(1), a.say(BULK_LANE, encodeFrame({ type: 'end', channel: 1 })), a.data(1, Buffer.alloc(1))),
  ],
  [
    'alters a record',
    'LINK_SEAL_BROKEN',
    (a) => {
      const record = a.seal(BULK_LANE, encodeFrame({ type: 'end', channel: 1 }));
      record[9] = (record[9] as number) ^ 1;
      a.deliver(BULK_LANE, record);
    },
  ],
  [
    'replays a record',
    'LINK_SEAL_BROKEN',
    (a) => {
      const record = a.seal(CONTROL_LANE, encodeFrame({ type: 'ping', id: 1 }));
      a.deliver(CONTROL_LANE, record);
      a.deliver(CONTROL_LANE, record);
    },
  ],
  [
    'leaves a record out',
    'LINK_SEAL_BROKEN',
    (a) => {
      a.seal(CONTROL_LANE, encodeFrame({ type: 'ping', id: 1 }));
      a.say(CONTROL_LANE, encodeFrame({ type: 'ping', id: 2 }));
    },
  ],
  [
    'moves a record to another lane',
    'LINK_SEAL_BROKEN',
    (a) => a.deliver(BULK_LANE, a.seal(CONTROL_LANE, encodeFrame({ type: 'ping', id: 1 }))),
  ],
  ['sends a record of no length', 'LINK_SEAL_BROKEN', (a) => a.deliver(BULK_LANE, Buffer.alloc(0))],
];

describe('a peer with valid keys that', () => {
  test.each(FRAME_CASES)('%s is cut off with %s, and told so', (_, code, offence) => {
    const attacker = new Attacker();
    offence(attacker);
    expect(attacker.ended?.code).toBe(code);
    expect(attacker.told()).toBe(code);
    expect(attacker.clock.pendingTimers).toBe(0);
  });

  test('opens 100,000 streams is cut off after twice the limit, and costs little', () => {
    const before = memoryInUse();
    const attacker = new Attacker();
    const turns = attacker.repeat(100_000, (turn) => attacker.open(2 * turn + 1));
    expect(attacker.ended?.code).toBe('LINK_PEER_ABUSE');
    expect(attacker.told()).toBe('LINK_PEER_ABUSE');
    expect(turns).toBe(2049);
    expect(memoryInUse() - before).toBeLessThan(24 * MIB); // 1,024 streams and their buffers
  });

  test('opens and resets streams without end is served, and costs nothing', async () => {
    const attacker = new Attacker();
    const round = (turn: number) => {
      attacker.open(2 * turn + 1);
      attacker.say(BULK_LANE, encodeFrame({ type: 'reset', channel: 2 * turn + 1, code: 32, reason: '' }));
    };
    const costs: number[] = [];
    for (let burst = 0; burst < 8; burst += 1) {
      attacker.repeat(500, (turn) => round(burst * 500 + turn));
      await new Promise((resolve) => setImmediate(resolve));
      costs.push(memoryInUse());
    }
    expect(attacker.ended).toBeUndefined();
    expect(attacker.victim.stats().openChannels).toBe(0);
    expect((costs.at(-1) as number) - (costs[3] as number)).toBeLessThan(2 * MIB);
  });

  test.each<[string, (attacker: Attacker, turn: number) => void]>([
    ['floods pings', (a, turn) => a.say(CONTROL_LANE, encodeFrame({ type: 'ping', id: turn }))],
    ['floods marks', (a) => a.say(CONTROL_LANE, encodeFrame({ type: 'mark', lane: 4, sequence: 1 }))],
    ['floods opens that are refused', (a, turn) => a.open(2 * turn + 1)],
  ])(
    '%s and does not read the answers is cut off with LINK_PEER_ABUSE',
    (_, offence) => {
      const attacker = new Attacker();
      attacker.onIncoming = (channel) =>
        channel.refuse('STREAM_UNKNOWN_SERVICE', 'there is no such service, and here is a long reason for it');
      attacker.reads = false;
      const turns = attacker.repeat(200_000, (turn) => offence(attacker, turn));
      expect(attacker.ended?.code).toBe('LINK_PEER_ABUSE');
      expect(turns).toBeGreaterThan(1000);
      const waiting = [...attacker.lanes.values()].reduce((sum, lane) => sum + lane.bufferedAmount, 0);
      expect(waiting).toBeLessThan(3 * MIB);
    },
    30_000,
  );

  test('never reads holds up a writer at the engine, not in memory', () => {
    const attacker = new Attacker({ maxIncomingChannels: 64 });
    attacker.reads = false;
    const streams = Array.from({ length: 64 }, () => attacker.victim.openStream('x'));
    for (const stream of streams) while (stream.write(Buffer.alloc(64 * 1024)));
    const waiting = attacker.lanes.get(BULK_LANE)?.bufferedAmount ?? 0;
    expect(waiting).toBeLessThan(2 * MIB);
    for (const stream of streams) expect(stream.writableLength).toBeLessThan(512 * 1024);
    expect(attacker.ended).toBeUndefined();
  });

  test('sends a stream more than its credit is cut off with LINK_FLOW_VIOLATED', () => {
    const attacker = new Attacker();
    attacker.open(1);
    const turns = attacker.repeat(1000, () => attacker.data(1, Buffer.alloc(60_000)));
    expect(attacker.ended?.code).toBe('LINK_FLOW_VIOLATED');
    expect(turns).toBe(Math.ceil((2 * MIB + 1) / 60_064));
  });

  test('spreads more than the link credit over many streams is cut off with LINK_FLOW_VIOLATED', () => {
    const before = memoryInUse();
    const attacker = new Attacker();
    for (let stream = 0; stream < 100; stream += 1) attacker.open(2 * stream + 1);
    const turns = attacker.repeat(10_000, (turn) => attacker.data(2 * (turn % 100) + 1, Buffer.alloc(60_000)));
    expect(attacker.ended?.code).toBe('LINK_FLOW_VIOLATED');
    expect(turns).toBe(Math.ceil((16 * MIB + 1) / 60_064));
    expect(memoryInUse() - before).toBeLessThan(20 * MIB);
  });

  test('sends a message that never ends is cut off with LINK_FLOW_VIOLATED', () => {
    const attacker = new Attacker();
    attacker.onIncoming = (channel) => channel.acceptMessages(() => {});
    attacker.open(1, 'message');
    const turns = attacker.repeat(1000, () => attacker.message(BULK_LANE, 1, Buffer.alloc(60_000), 'messagePart'));
    expect(attacker.ended?.code).toBe('LINK_FLOW_VIOLATED');
    expect(turns).toBe(Math.ceil((MIB + 1) / 60_000));
  });

  test.each([
    ['single bytes to streams that nobody reads', 'stream', 1],
    ['empty messages to handlers that never finish', 'message', 0],
    ['empty parts of messages', 'part', 0],
  ] as const)('sends %s is held to its credit, and costs little', (what, kind, length) => {
    const before = memoryInUse();
    const linkWindowBytes = 2 * MIB;
    const attacker = new Attacker({ linkWindowBytes });
    const held: unknown[] = [];
    attacker.onIncoming = (channel) => {
      if (channel.kind === 'stream') held.push(channel.acceptStream());
      else channel.acceptMessages((message) => new Promise<void>(() => held.push(message)));
    };
    for (let channel = 0; channel < 4; channel += 1)
      attacker.open(2 * channel + 1, kind === 'stream' ? 'stream' : 'message');
    const payload = Buffer.alloc(length);
    const offend = (turn: number) => {
      const channel = 2 * (turn % 4) + 1;
      if (kind === 'stream') attacker.data(channel, payload);
      else attacker.message(BULK_LANE, channel, payload, kind === 'part' ? 'messagePart' : 'message');
    };
    expect(attacker.repeat(20_000, offend)).toBe(20_000);
    const cost = memoryInUse() - before;
    console.info(`${what}: ${(cost / 20_000).toFixed(0)} bytes in use for a frame`);
    expect(cost / 20_000).toBeLessThan(1000);
    attacker.repeat(linkWindowBytes / 64, offend);
    expect(attacker.ended?.code).toBe('LINK_FLOW_VIOLATED');
    held.splice(0);
  });

  test('floods a slow handler with lossy messages fills one window of memory', () => {
    const attacker = new Attacker();
    let held = 0;
    attacker.onIncoming = (channel) =>
      channel.acceptMessages((message) => {
        held += message.length;
        return new Promise<void>(() => {});
      });
    attacker.open(1, 'message');
    attacker.repeat(200, () => attacker.message(4, 1, Buffer.alloc(60_000)));
    expect(attacker.ended).toBeUndefined();
    expect(held).toBeGreaterThan(MIB / 2);
    expect(held).toBeLessThanOrEqual(MIB);
  });

  test('says that it read what was never sent gains nothing', () => {
    const attacker = new Attacker();
    const stream = attacker.victim.openStream('x');
    attacker.say(CONTROL_LANE, encodeFrame({ type: 'credit', channel: 2, limit: Number.MAX_SAFE_INTEGER }));
    attacker.say(CONTROL_LANE, encodeFrame({ type: 'credit', channel: 0, limit: Number.MAX_SAFE_INTEGER }));
    attacker.say(CONTROL_LANE, encodeFrame({ type: 'credit', channel: 77, limit: 1 }));
    attacker.say(CONTROL_LANE, encodeFrame({ type: 'report', lane: 4, sequence: 1e9 }));
    attacker.say(CONTROL_LANE, encodeFrame({ type: 'report', lane: 99, sequence: 1 }));
    attacker.say(CONTROL_LANE, encodeFrame({ type: 'pong', id: 12345 }));
    while (stream.write(Buffer.alloc(64 * 1024)) && !attacker.ended);
    expect(attacker.ended).toBeUndefined();
    expect(attacker.victim.stats().roundTripMs).toBeUndefined();
  });

  test('is cut off leaves another link of the same process alone', async () => {
    const pair = await openSessionPair();
    const [near, far] = await openStreamPair(pair);
    const reading = readAll(far);
    near.write(pattern(MIB));
    for (const [, , offence] of FRAME_CASES) offence(new Attacker());
    const flood = new Attacker();
    flood.reads = false;
    flood.repeat(100_000, (turn) => flood.open(2 * turn + 1));
    near.end(pattern(MIB));
    expect((await pair.settled(reading)).length).toBe(2 * MIB);
    expect([pair.left.closed, pair.right.closed]).toEqual([undefined, undefined]);
  });
});

test('a stream of a cut-off peer tells its user the code', () => {
  const attacker = new Attacker();
  let stream: LinkStream | undefined;
  attacker.onIncoming = (channel) => {
    stream = channel.acceptStream();
  };
  attacker.open(1);
  attacker.open(2);
  expect(stream?.errored).toMatchObject({ code: 'LINK_PROTOCOL_VIOLATED' });
});
