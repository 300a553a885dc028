/** Paths that from one moment on swallow what they carried before (RFC 8899 §4.3), with chunks already cut for the old size. */

import { describe, expect, test } from 'vitest';
import { Link, type LinkOptions } from './link.ts';
import { Pair, type PairOptions } from './pair.ts';
import { Simulation } from './simulation.ts';

type Path = { -readonly [key in keyof LinkOptions]: LinkOptions[key] };

/** A pair over a path of `largeBytes` in both directions that `shrink` makes smaller. */
function shrinking(largeBytes: number, options: LinkOptions = {}, pairOptions: PairOptions = {}) {
  const simulation = new Simulation();
  const paths: Path[] = [3, 4].map((seed) => ({
    rateMbps: 50,
    delayMs: 20,
    ...options,
    seed,
    maxPacketBytes: largeBytes,
  }));
  const [forward, backward] = paths.map((path) => new Link(simulation, path)) as [Link, Link];
  const pair = new Pair({ seed: 3 }, { maxPacketBytes: largeBytes, ...pairOptions }, { simulation, forward, backward });
  const shrink = (maxPacketBytes: number) => {
    for (const path of paths) path.maxPacketBytes = maxPacketBytes;
  };
  return { pair, shrink };
}

/** Takes the chunk type of pieces out of what INIT and INIT ACK offer: the peer of others. */
function withoutPieces(pair: Pair): void {
  for (const link of [pair.forward, pair.backward]) {
    link.filter = (packet) => {
      const at = packet.indexOf(161, 12);
      if (packet[12]! > 2 || at < 0) return true;
      packet[at] = 192;
      packet.fill(0, 8, 12); // no checksum
      return true;
    };
  }
}

/** Numbered messages; `sendMore` keeps the channel full of them. */
class Stream {
  readonly arrivedMs: number[] = [];
  readonly numbers: number[] = [];
  sent = 0;
  readonly #pair: Pair;
  readonly #channel;
  readonly #messageBytes: number;

  constructor(pair: Pair, messageBytes: number) {
    this.#pair = pair;
    this.#messageBytes = messageBytes;
    this.#channel = pair.a.open({ label: 'stream' });
    this.#channel.bufferedAmountLowThreshold = 100_000;
    pair.b.onMessage = ({ channel, data }) => {
      if (channel.label !== 'stream') return;
      this.numbers.push(data.readUInt32BE());
      this.arrivedMs.push(pair.simulation.nowMs);
    };
  }

  keepFull(): this {
    const fill = () => {
      while (this.#channel.bufferedAmount < 200_000) this.send();
    };
    this.#channel.onBufferedAmountLow = fill;
    fill();
    this.#pair.a.settle();
    return this;
  }

  send(): void {
    const message = Buffer.alloc(this.#messageBytes);
    message.writeUInt32BE(this.sent++);
    this.#channel.send(message, this.#pair.simulation.nowMs);
  }

  stop(): void {
    this.#channel.onBufferedAmountLow = undefined;
  }

  /** The longest time without a message from `fromMs` on. */
  longestGapMs(fromMs: number): number {
    let gapMs = 0;
    let lastMs = fromMs;
    for (const ms of this.arrivedMs.filter((each) => each > fromMs)) {
      gapMs = Math.max(gapMs, ms - lastMs);
      lastMs = ms;
    }
    return gapMs;
  }

  get sentNumbers(): number[] {
    return Array.from({ length: this.sent }, (_, at) => at);
  }
}

const falls = [
  [1432, 1200, 1200],
  [1432, 900, 768],
  [8900, 1400, 1360],
  [1432, 508, 508],
] as const;

describe.each(falls)('when %i bytes become %i in mid-transfer', (largeBytes, smallBytes, foundBytes) => {
  test.each<[string, number, LinkOptions, number]>([
    ['a bulk transfer', 16_384, {}, 700],
    ['a bulk transfer that loses 2 % besides', 16_384, { loss: 0.02 }, 1000],
    ['a bulk transfer whose packets double and overtake', 16_384, { duplicate: 0.3, jitterMs: 10 }, 1000],
    ['small messages that share packets', 100, {}, 700],
  ])('%s goes on after a moment, in order and without a gap', (_, messageBytes, options, limitMs) => {
    const { pair, shrink } = shrinking(largeBytes, options);
    pair.connect();
    const stream = new Stream(pair, messageBytes).keepFull();
    pair.run(3000);
    expect(pair.a.association.packetBytes).toBe(largeBytes);
    const fellMs = pair.simulation.nowMs;
    shrink(smallBytes);
    pair.run(5000);
    stream.stop();
    pair.run(2000);
    expect(stream.numbers).toEqual(stream.sentNumbers);
    expect(stream.longestGapMs(fellMs)).toBeLessThan(limitMs);
    expect(pair.a.association.packetBytes).toBe(foundBytes);
  });

  test('large messages among small ones that still arrive do too', () => {
    const { pair, shrink } = shrinking(largeBytes);
    pair.connect();
    const stream = new Stream(pair, largeBytes);
    const beat = pair.a.open({ label: 'beat', isOrdered: false });
    const run = (ms: number) => {
      for (let step = 0; step < ms; step += 10) {
        if (step % 50 === 0) stream.send();
        pair.a.send(beat, Buffer.alloc(20));
        pair.run(10);
      }
    };
    run(3000);
    const fellMs = pair.simulation.nowMs;
    shrink(smallBytes);
    run(3000);
    pair.run(2000);
    expect(stream.numbers).toEqual(stream.sentNumbers);
    expect(stream.longestGapMs(fellMs)).toBeLessThan(700);
  });
});

test('a path may shrink again and again, and grow back', () => {
  const { pair, shrink } = shrinking(8900);
  pair.connect();
  const stream = new Stream(pair, 30_000).keepFull();
  const found: number[] = [];
  for (const bytes of [8900, 4200, 1400, 1000, 600, 8900]) {
    shrink(bytes);
    pair.run(bytes === 8900 ? 12_000 : 4000);
    found.push(pair.a.association.packetBytes);
  }
  stream.stop();
  pair.run(2000);
  expect(stream.numbers).toEqual(stream.sentNumbers);
  expect(found).toEqual([8900, 4096, 1360, 768, 508, 8900]);
});

test('messages that are not sent again shrink as well', () => {
  const { pair, shrink } = shrinking(1432);
  pair.connect();
  const channel = pair.a.open({ isOrdered: false, maxRetransmits: 0 });
  const run = (ms: number) => {
    for (let step = 0; step < ms; step += 50) {
      pair.a.send(channel, Buffer.alloc(1300));
      pair.run(50);
    }
  };
  run(1000);
  shrink(900);
  run(2000);
  const before = pair.b.messages.length;
  run(2000);
  expect(pair.b.messages.length - before).toBe(40);
});

test('an outage, however long, is no reason for smaller packets', () => {
  const { pair } = shrinking(1432);
  pair.connect();
  const stream = new Stream(pair, 16_384).keepFull();
  pair.run(2000);
  for (const ms of [300, 1000, 5000]) {
    pair.forward.filter = () => false;
    pair.run(ms);
    pair.forward.filter = undefined;
    let smallest = 1432;
    for (let step = 0; step < 400; step++) {
      pair.run(10);
      smallest = Math.min(smallest, pair.a.association.packetBytes);
    }
    expect(smallest).toBe(1432);
  }
  stream.stop();
  pair.run(1000);
  expect(stream.numbers).toEqual(stream.sentNumbers);
});

test('nor is a receiver that does not read', () => {
  const { pair } = shrinking(1432, {}, { receiveWindowBytes: 100_000, maxMessageBytes: 20_000 });
  pair.connect();
  const stream = new Stream(pair, 16_384).keepFull();
  pair.run(1000);
  pair.b.opened[0]!.pause();
  pair.run(20_000);
  expect(pair.a.association.packetBytes).toBe(1432);
  pair.b.opened[0]!.resume(pair.simulation.nowMs);
  pair.b.settle();
  stream.stop();
  pair.run(3000);
  expect(stream.numbers).toEqual(stream.sentNumbers);
});

test.each([true, false])('what was cut for a large path arrives over a small one; in pieces: %s', (hasPieces) => {
  const { pair } = shrinking(8900);
  if (!hasPieces) withoutPieces(pair);
  pair.connect();
  const channel = pair.a.open();
  for (let sent = 0; sent < 20; sent += 1) pair.a.send(channel, Buffer.alloc(100_000));
  pair.run(5000);
  pair.forward.filter = () => false;
  pair.a.send(channel, Buffer.alloc(100_000));
  pair.run(500);
  let largest = 0;
  pair.forward.filter = (packet) => {
    largest = Math.max(largest, packet.length);
    return true;
  };
  pair.a.association.pathChanged(pair.simulation.nowMs, { maxPacketBytes: 1400 });
  pair.a.settle();
  pair.run(2000);
  expect(pair.b.messages).toHaveLength(21);
  // IP has fragments, where nothing else helps.
  if (hasPieces) expect(largest).toBeLessThanOrEqual(1400);
  else expect(largest).toBeGreaterThan(8000);
});

describe('a peer that knows no pieces', () => {
  test('gets no chunk that it does not know, and what is cut from then on arrives', () => {
    const { pair, shrink } = shrinking(1432);
    withoutPieces(pair);
    pair.connect();
    const types = new Set<number>();
    pair.forward.filter = (packet) => {
      for (let at = 12; at + 4 <= packet.length; at += (packet.readUInt16BE(at + 2) + 3) & ~3) types.add(packet[at]!);
      return true;
    };
    const stuck = pair.a.open({ label: 'stuck' });
    const live = pair.a.open({ label: 'live' });
    pair.run(1000);
    shrink(900);
    pair.a.send(stuck, Buffer.alloc(1350));
    pair.run(3000);
    pair.a.send(live, Buffer.alloc(5000));
    pair.run(3000);
    expect(pair.b.messages.map(({ channel }) => channel.label)).toEqual(['live']);
    // SACK, HEARTBEAT, I-DATA.
    expect([...types].toSorted((a, b) => a - b)).toEqual([3, 4, 64]);
    shrink(1432);
    pair.run(5000);
    expect(pair.b.messages.map(({ channel }) => channel.label)).toEqual(['live', 'stuck']);
  });

  test('is given up when what waits never arrives', () => {
    const { pair, shrink } = shrinking(1432);
    withoutPieces(pair);
    pair.connect();
    new Stream(pair, 16_384).keepFull();
    pair.run(1000);
    shrink(900);
    pair.run(60_000);
    expect(pair.a.error).toMatchObject({ code: 'SCTP_TIMEOUT' });
  });
});
