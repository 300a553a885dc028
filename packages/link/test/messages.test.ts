import { fuzzRuns } from '@claw/testkit';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Reliability } from '../src/session/lanes.ts';
import type { LinkStream } from '../src/session/link-stream.ts';
import type { MessageChannel, MessageHandler } from '../src/session/message-channel.ts';
import { openSessionPair, openStreamPair, pattern, type SessionPair, type SessionPairOptions } from './session-pair.ts';

const MIB = 1024 * 1024;
const ORDERED: Reliability = { ordered: true, reliable: true };
const UNORDERED: Reliability = { ordered: false, reliable: true };
const LOSSY_ORDERED: Reliability = { ordered: true, reliable: false };
const LOSSY_UNORDERED: Reliability = { ordered: false, reliable: false };

interface Messages {
  readonly pair: SessionPair;
  readonly near: MessageChannel;
  readonly far: MessageChannel;
  readonly got: Buffer[];
}

/** A message channel that is accepted at the other end; `take` defaults to keeping what comes in `got`. */
async function openMessages(
  options: SessionPairOptions = {},
  reliability = ORDERED,
  take?: MessageHandler,
): Promise<Messages> {
  const pair = await openSessionPair(options);
  const near = pair.left.session.openMessages('test', reliability);
  await pair.until(() => pair.right.incoming.length === 1);
  const got: Buffer[] = [];
  const keep = (message: Buffer) => void got.push(message);
  const far = pair.right.incoming[0]?.acceptMessages(take ?? keep) as MessageChannel;
  await pair.settled(near.accepted);
  return { pair, near, far, got };
}

const numbered = (index: number, length = 100) => {
  const message = Buffer.alloc(length, index & 255);
  message.writeUInt32BE(index, 0);
  return message;
};
const numbersIn = (got: readonly Buffer[]) => got.map((message) => message.readUInt32BE(0));
const rising = (count: number) => Array.from({ length: count }, (_, index) => index);
const strictlyRising = (numbers: readonly number[]) =>
  numbers.every((number, at) => at === 0 || number > (numbers[at - 1] as number));

describe('a message channel', () => {
  test('that is reliable and ordered brings every message once and in order, whatever the network does', async () => {
    const { pair, near, got } = await openMessages({ delayMs: 5, loss: 0.5, reorder: 0.5, bytesPerMs: 500 });
    for (const index of rising(400)) void near.send(numbered(index));
    await pair.until(() => got.length === 400);
    expect(numbersIn(got)).toEqual(rising(400));
  });

  test('that is reliable and unordered brings every message once', async () => {
    const { pair, near, got } = await openMessages({ delayMs: 5, loss: 0.5, reorder: 0.5, bytesPerMs: 500 }, UNORDERED);
    for (const index of rising(400)) void near.send(numbered(index));
    await pair.until(() => got.length === 400);
    expect(numbersIn(got)).not.toEqual(rising(400)); // else this network proves nothing
    expect(numbersIn(got).toSorted((a, b) => a - b)).toEqual(rising(400));
  });

  test('that is lossy and ordered brings messages at most once and in order', async () => {
    const { pair, near, got } = await openMessages(
      { delayMs: 5, loss: 0.3, reorder: 0.5, bytesPerMs: 500 },
      LOSSY_ORDERED,
    );
    for (const index of rising(400)) void near.send(numbered(index));
    await pair.clock.advance(1000);
    expect(got.length).toBeGreaterThan(200);
    expect(got.length).toBeLessThan(360);
    expect(strictlyRising(numbersIn(got))).toBe(true);
  });

  test('that is lossy and unordered brings messages at most once', async () => {
    const { pair, near, got } = await openMessages(
      { delayMs: 5, loss: 0.3, reorder: 0.5, bytesPerMs: 500 },
      LOSSY_UNORDERED,
    );
    for (const index of rising(400)) void near.send(numbered(index));
    await pair.clock.advance(1000);
    expect(got.length).toBeGreaterThan(200);
    expect(new Set(numbersIn(got)).size).toBe(got.length);
    expect(strictlyRising(numbersIn(got))).toBe(false);
  });

  test('may change its reliability at any time and keeps the promise of each message (property)', async () => {
    const setting = fc.constantFrom(ORDERED, UNORDERED, LOSSY_ORDERED, LOSSY_UNORDERED);
    const step = fc.tuple(setting, fc.integer({ min: 4, max: 90_000 }));
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), fc.nat(1000), async (steps, seed) => {
        const { pair, near, got } = await openMessages({ delayMs: 3, loss: 0.3, reorder: 0.3, bytesPerMs: 5000, seed });
        const reliable: number[] = [];
        for (const [index, [reliability, length]] of steps.entries()) {
          near.reliability = reliability;
          if (!reliability.reliable) void near.send(numbered(index, Math.min(length, 60_000)));
          else if (near.send(numbered(index, length))) reliable.push(index);
        }
        await pair.until(() => reliable.every((index) => numbersIn(got).includes(index)));
        await pair.clock.advance(100);
        const numbers = numbersIn(got);
        expect(new Set(numbers).size).toBe(numbers.length);
        const isOrdered = (index: number) => steps[index]?.[0] === ORDERED;
        expect(strictlyRising(numbers.filter(isOrdered))).toBe(true);
        expect(strictlyRising(numbers.filter((index) => steps[index]?.[0] === LOSSY_ORDERED))).toBe(true);
        for (const message of got) expect(message.length).toBeGreaterThanOrEqual(4);
      }),
      { numRuns: Math.ceil(fuzzRuns / 50) },
    );
  });

  test('cuts a long message and joins it again, and keeps its place among short ones', async () => {
    const { pair, near, got } = await openMessages();
    const long = pattern(MIB);
    void near.send(Buffer.from('before'));
    void near.send(long);
    void near.send(Buffer.alloc(0));
    void near.send(Buffer.from('after'));
    await pair.until(() => got.length === 4);
    expect(got[0]?.toString()).toBe('before');
    expect(got[1]?.equals(long)).toBe(true);
    expect(got[2]).toHaveLength(0);
    expect(got[3]?.toString()).toBe('after');
  });

  test('sends a long message in order although it is set to unordered', async () => {
    const { pair, near, got } = await openMessages({ delayMs: 5, reorder: 0.5 }, UNORDERED);
    void near.send(pattern(300_000));
    await pair.until(() => got.length === 1);
    expect(got[0]?.equals(pattern(300_000))).toBe(true);
  });

  test('refuses what is too long for its setting', async () => {
    const { near } = await openMessages();
    const tooLarge = expect.objectContaining({ code: 'MESSAGE_TOO_LARGE' });
    expect(() => near.send(Buffer.alloc(MIB + 1))).toThrow(tooLarge);
    near.reliability = LOSSY_ORDERED;
    expect(() => near.send(Buffer.alloc(64 * 1024))).toThrow(tooLarge);
  });

  test('keeps reliable messages that come before the receiver has accepted', async () => {
    const pair = await openSessionPair();
    const near = pair.left.session.openMessages('test', ORDERED);
    for (const index of rising(20)) void near.send(numbered(index));
    near.reliability = UNORDERED;
    for (const index of rising(20)) void near.send(numbered(20 + index));
    await pair.clock.advance(500);
    const got: Buffer[] = [];
    pair.right.incoming[0]?.acceptMessages((message) => void got.push(message));
    await pair.until(() => got.length === 40);
    expect(numbersIn(got).filter((number) => number < 20)).toEqual(rising(20));
  });

  test('stops a sender whose receiver is slow, and lets it go on', async () => {
    const waiting: (() => void)[] = [];
    const slow: MessageHandler = () => new Promise<void>((resolve) => waiting.push(resolve));
    const { pair, near } = await openMessages({}, ORDERED, slow);
    let sent = 0;
    const sending = (async () => {
      for (; sent < 300; sent += 1) await near.send(numbered(sent, 60_000));
    })();
    await pair.clock.advance(1000);
    expect(sent).toBeGreaterThan(30);
    expect(sent).toBeLessThan(36); // 2 MiB of them
    expect(waiting.length).toBe(sent);
    await pair.until(() => {
      for (const handled of waiting.splice(0)) handled();
      return sent === 300;
    });
    await sending;
  });

  test.each([
    [
      'throws',
      () => {
        throw new Error('a bug');
      },
    ],
    ['rejects', () => Promise.reject(new Error('a bug'))],
  ])('whose handler %s ends alone, is told once and why', async (_, handler: MessageHandler) => {
    const { pair, near, far } = await openMessages({}, ORDERED, handler);
    const ends: unknown[] = [];
    near.onClose = (error) => ends.push(error);
    far.onClose = (error) => ends.push(error);
    void near.send(Buffer.from('one'));
    void near.send(Buffer.from('two'));
    await pair.until(() => ends.length === 2);
    await pair.clock.advance(100);
    expect(ends).toMatchObject([
      { code: 'STREAM_RESET', message: 'the message handler failed', cause: { message: 'a bug' } },
      { code: 'STREAM_RESET', message: 'the receiver failed' },
    ]);
    expect(() => near.send(Buffer.from('three'))).toThrow(expect.objectContaining({ code: 'STREAM_RESET' }));
    expect([pair.left.closed, pair.right.closed]).toEqual([undefined, undefined]);
    expect(pair.left.session.stats().openChannels + pair.right.session.stats().openChannels).toBe(0);
  });

  test('that ends with messages unsent rejects those who wait for them', async () => {
    const { pair, near } = await openMessages({}, ORDERED, () => new Promise<void>(() => {}));
    const outcomes = rising(60).map((index) => near.send(numbered(index, 60_000)));
    near.close();
    const last = outcomes.at(-1);
    await expect(last).rejects.toMatchObject({ code: 'STREAM_RESET' });
    await pair.clock.advance(100);
    expect(pair.right.session.stats().openChannels).toBe(0);
  });

  test('that is closed again and again in the middle of long messages leaves the link its credit', async () => {
    // A small buffer in the engine, so that most of each message is not sent yet.
    const pair = await openSessionPair({ bytesPerMs: 20_000, limits: { bulkHighWaterBytes: 128 * 1024 } });
    for (let round = 0; round < 40; round += 1) {
      const near = pair.left.session.openMessages('test', ORDERED); // 40 MiB in all, over twice the link window
      void near.send(pattern(MIB));
      await pair.clock.advance(round % 4 === 0 ? 0 : 7);
      near.close();
      await pair.clock.advance(20);
      for (const incoming of pair.right.incoming.splice(0)) incoming.refuse('STREAM_REFUSED', 'no');
    }
    const [writer, reader] = await openStreamPair(pair);
    writer.end(pattern(2 * MIB));
    let length = 0;
    reader.on('data', (chunk: Buffer) => {
      length += chunk.length;
    });
    await pair.until(() => length === 2 * MIB);
  });
});

describe('lossy messages', () => {
  test('flow again after the tail of a full window was lost', async () => {
    const { pair, near, got } = await openMessages({ delayMs: 10 }, LOSSY_UNORDERED);
    let lost = 0;
    const lane = pair.left.lanes.get(4) as { send: (data: Uint8Array) => void };
    const send = lane.send.bind(lane);
    lane.send = () => {
      lost += 1;
    };
    while (near.send(numbered(lost, 10_000)));
    expect(lost).toBeGreaterThan(90); // a window of 1 MiB
    expect(near.dropped).toBe(1);
    lane.send = send;
    await pair.clock.advance(100); // the mark after 50 ms, the report a round trip later
    expect(near.send(numbered(7, 10_000))).toBe(true);
    await pair.until(() => got.length === 1);
  });

  test('flow at the rate of a receiver that reports, with losses, for long', async () => {
    const { pair, near, got } = await openMessages({ delayMs: 10, loss: 0.2, bytesPerMs: 10_000 }, LOSSY_UNORDERED);
    let sent = 0;
    for (let round = 0; round < 300; round += 1) {
      for (let burst = 0; burst < 10; burst += 1) if (near.send(numbered(sent, 10_000))) sent += 1;
      await pair.clock.advance(10);
    }
    await pair.clock.advance(200);
    expect(sent).toBeGreaterThan(2500); // 25 MB through a window of 1 MiB
    expect(got.length / sent).toBeGreaterThan(0.75);
    expect(got.length / sent).toBeLessThan(0.85);
  });

  test('wait in memory for a slow handler up to the window and no further', async () => {
    let handled = 0;
    const never: MessageHandler = () => {
      handled += 1;
      return new Promise<void>(() => {});
    };
    const { pair, near } = await openMessages({}, LOSSY_UNORDERED, never);
    for (let round = 0; round < 100; round += 1) {
      for (let burst = 0; burst < 10; burst += 1) void near.send(numbered(burst, 10_000));
      await pair.clock.advance(10);
    }
    expect(handled).toBeGreaterThan(90);
    expect(handled).toBeLessThan(110); // 1 MiB of 10,000
  });
});

describe('link credit', () => {
  test('does not run dry when many long messages begin at once', async () => {
    const pair = await openSessionPair({ bytesPerMs: 50_000 });
    let got = 0;
    pair.right.onIncoming = (channel) => void channel.acceptMessages((message) => void (got += message.length));
    for (let channel = 0; channel < 40; channel += 1)
      void pair.left.session.openMessages('test', ORDERED).send(pattern(MIB));
    await pair.until(() => got === 40 * MIB);
  });

  test('is never used up for good, whatever is opened, sent, reset and read when (property)', async () => {
    const action = fc.oneof(
      fc.record({ do: fc.constant('stream' as const), size: fc.integer({ min: 1, max: 400_000 }) }),
      fc.record({ do: fc.constant('message' as const), size: fc.integer({ min: 0, max: 150_000 }) }),
      fc.record({ do: fc.constant('unordered' as const), size: fc.integer({ min: 0, max: 65_000 }) }),
      fc.record({ do: fc.constant('reset' as const), size: fc.nat(20) }),
      fc.record({ do: fc.constant('wait' as const), size: fc.nat(30) }),
    );
    const limits = {
      channelWindowBytes: 256 * 1024,
      linkWindowBytes: 384 * 1024,
      maxMessageBytes: 150_000,
      bulkHighWaterBytes: 100_000,
    };
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 40 }), fc.nat(1000), async (actions, seed) => {
        const pair = await openSessionPair({ delayMs: 2, reorder: 0.3, bytesPerMs: 20_000, seed, limits });
        let received = 0;
        const expected = { streams: 0, messages: 0 };
        let messages = 0;
        pair.right.onIncoming = (channel) => {
          if (channel.kind === 'message') return void channel.acceptMessages(() => void (messages += 1));
          const stream = channel.acceptStream();
          stream.on('data', (chunk: Buffer) => {
            received += chunk.length;
          });
          stream.on('end', () => stream.end());
        };
        const channel = pair.left.session.openMessages('test', ORDERED);
        await pair.settled(channel.accepted);
        const doomed: (LinkStream | MessageChannel)[] = [];
        for (const { do: what, size } of actions) {
          if (what === 'stream') {
            pair.left.session.openStream('kept').end(Buffer.alloc(size));
            expected.streams += size;
            const other = pair.left.session.openStream('doomed');
            other.write(Buffer.alloc(size));
            doomed.push(other);
            const cut = pair.left.session.openMessages('doomed', ORDERED);
            void cut.send(Buffer.alloc(Math.min(size, 150_000)));
            doomed.push(cut);
          } else if (what === 'reset') {
            const victim = doomed.splice(size % Math.max(1, doomed.length), 1)[0];
            if (victim && 'destroy' in victim) victim.destroy();
            else victim?.close();
          } else if (what === 'wait') {
            await pair.clock.advance(size);
          } else {
            channel.reliability = what === 'message' ? ORDERED : UNORDERED;
            void channel.send(Buffer.alloc(size));
            expected.messages += 1;
          }
        }
        await pair.until(() => received >= expected.streams && messages >= expected.messages);
        expect([pair.left.closed, pair.right.closed]).toEqual([undefined, undefined]);
        // Whatever came before, the whole link window is there for the next.
        const [near, far] = await openStreamPairUnread(pair);
        near.end(pattern(500_000));
        await pair.until(() => far.readableEnded);
      }),
      { numRuns: Math.ceil(fuzzRuns / 40) },
    );
  }, 60_000);
});

async function openStreamPairUnread(pair: SessionPair): Promise<[LinkStream, LinkStream]> {
  let far: LinkStream | undefined;
  const before = pair.right.onIncoming;
  pair.right.onIncoming = (channel) => {
    if (channel.service !== 'last') return before(channel); // an earlier one, still on its way
    far = channel.acceptStream();
    far.resume();
  };
  const near = pair.left.session.openStream('last');
  await pair.until(() => far !== undefined);
  return [near, far as LinkStream];
}
