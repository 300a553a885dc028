import { ClawError } from '@claw/base';
import { describe, expect, test } from 'vitest';
import type { LinkStream } from '../src/session/link-stream.ts';
import { openSessionPair, openStreamPair, pattern, readAll } from './session-pair.ts';

const MIB = 1024 * 1024;

/** Writes until the stream takes no more; returns the bytes that `write` accepted. */
async function fill(stream: LinkStream, advance: () => Promise<void>): Promise<number> {
  let written = 0;
  for (let idle = 0; idle < 5; ) {
    if (!stream.writableNeedDrain) {
      stream.write(Buffer.alloc(64 * 1024));
      written += 64 * 1024;
      idle = 0;
    } else {
      await advance();
      idle += 1;
    }
  }
  return written;
}

describe('a stream', () => {
  test('carries bytes both ways, and half-close each way by itself', async () => {
    const pair = await openSessionPair({ delayMs: 5, bytesPerMs: 10_000 });
    const [near, far] = await openStreamPair(pair);
    const there = pattern(3 * MIB, 1);
    const back = pattern(2 * MIB, 2);
    near.end(there);
    expect((await pair.settled(readAll(far))).equals(there)).toBe(true);
    expect(near.writableFinished).toBe(true);
    expect(near.readableEnded).toBe(false);
    far.end(back); // the other half works on
    expect((await pair.settled(readAll(near))).equals(back)).toBe(true);
    await pair.until(() => near.closed && far.closed);
    expect(pair.left.session.stats().openChannels + pair.right.session.stats().openChannels).toBe(0);
  });

  test('brings what the opener wrote before it was accepted, and the metadata both ways', async () => {
    const pair = await openSessionPair({ delayMs: 5 });
    const near = pair.left.session.openStream('echo', Buffer.from('question'));
    near.end('early');
    await pair.until(() => pair.right.incoming.length === 1);
    await pair.clock.advance(100); // the receiver takes its time to decide
    const [incoming] = pair.right.incoming;
    expect(incoming).toMatchObject({ service: 'echo', kind: 'stream', meta: Buffer.from('question') });
    const far = incoming?.acceptStream(Buffer.from('answer')) as LinkStream;
    expect((await pair.settled(near.accepted)).toString()).toBe('answer');
    expect((await pair.settled(readAll(far))).toString()).toBe('early');
  });

  test.each(['STREAM_REFUSED', 'STREAM_NOT_GRANTED', 'STREAM_UNKNOWN_SERVICE', 'STREAM_TARGET_FAILED'] as const)(
    'that is refused with %s ends with that code and its reason',
    async (code) => {
      const pair = await openSessionPair();
      pair.right.onIncoming = (channel) => channel.refuse(code, 'not today');
      const stream = pair.left.session.openStream('test');
      await expect(pair.settled(stream.accepted)).rejects.toMatchObject({ code, message: 'not today' });
      await pair.until(() => stream.closed);
      expect(stream.errored).toMatchObject({ code });
      expect(pair.right.session.stats().openChannels).toBe(0);
    },
  );

  test('whose reader does not read stops its writer at the window, and goes on when it reads', async () => {
    const pair = await openSessionPair();
    const [near, far] = await openStreamPair(pair);
    const written = await fill(near, () => pair.clock.advance(50));
    const sent = pair.left.session.stats().bytesSent;
    expect(sent).toBeGreaterThan(1.9 * MIB);
    expect(sent).toBeLessThan(2.1 * MIB); // the channel window, and the records' own bytes
    expect(far.readableLength).toBeLessThanOrEqual(2 * MIB);
    near.end();
    expect((await pair.settled(readAll(far))).length).toBe(written);
  });

  test('whose reader does not read leaves the others alone', async () => {
    const pair = await openSessionPair();
    for (let stuck = 0; stuck < 4; stuck += 1) {
      const [near] = await openStreamPair(pair);
      await fill(near, () => pair.clock.advance(10));
    }
    const [near, far] = await openStreamPair(pair);
    near.end(pattern(4 * MIB));
    expect((await pair.settled(readAll(far))).equals(pattern(4 * MIB))).toBe(true);
  });

  test('that waits for more than its window holds of small frames gets it', async () => {
    const pair = await openSessionPair({ limits: { channelWindowBytes: 96 * 1024, maxMessageBytes: 1000 } });
    const [near, far] = await openStreamPair(pair);
    const wanted = 3000; // as single bytes they cost twice the channel window
    const got = new Promise<Buffer>((resolve) => {
      far.on('readable', () => {
        const chunk = far.read(wanted);
        if (chunk) resolve(chunk);
      });
    });
    const before = pair.left.session.stats().bytesSent;
    for (let at = 0; at < wanted; at += 1) {
      near.write(Buffer.from([at & 255]));
      await new Promise((resolve) => setImmediate(resolve)); // each byte in a frame of its own
    }
    expect((await pair.settled(got)).length).toBe(wanted);
    expect(pair.left.session.stats().bytesSent - before).toBeGreaterThan(1400 * 25);
  });

  test('beside nineteen others gets its share', async () => {
    const pair = await openSessionPair({ bytesPerMs: 2000 });
    const counts: number[] = [];
    const writers: LinkStream[] = [];
    for (let index = 0; index < 20; index += 1) {
      const [near, far] = await openStreamPair(pair);
      writers.push(near);
      counts.push(0);
      far.on('data', (chunk: Buffer) => {
        counts[index] = (counts[index] as number) + chunk.length;
      });
    }
    for (const near of writers) near.write(Buffer.alloc(4 * MIB));
    await pair.clock.advance(2000); // the first had the engine's buffer for itself
    const before = [...counts];
    await pair.clock.advance(8000); // a fifth of what they want to send
    const shares = counts.map((count, index) => count - (before[index] as number));
    const [least, most] = [Math.min(...shares), Math.max(...shares)];
    expect(least).toBeGreaterThan(512 * 1024);
    expect(most - least).toBeLessThanOrEqual(2 * 64 * 1024);
  });

  test.each(['left', 'right'] as const)(
    'that its %s end destroys with an error ends at the other with that text',
    async (side) => {
      const pair = await openSessionPair({ delayMs: 2 });
      const [near, far] = await openStreamPair(pair);
      const [own, other] = side === 'left' ? [near, far] : [far, near];
      near.write('some');
      far.write('thing');
      own.destroy(new Error('enough'));
      await pair.until(() => other.closed);
      expect(other.errored).toMatchObject({ code: 'STREAM_RESET', message: 'enough' });
      expect(pair.left.session.stats().openChannels + pair.right.session.stats().openChannels).toBe(0);
      expect(pair.left.closed).toBeUndefined();
    },
  );

  test('that both ends destroy at once ends at both', async () => {
    const pair = await openSessionPair({ delayMs: 2 });
    const [near, far] = await openStreamPair(pair);
    near.destroy();
    far.destroy();
    await pair.clock.advance(100);
    expect([near.closed, far.closed, pair.left.closed, pair.right.closed]).toEqual([true, true, undefined, undefined]);
  });

  test('that is destroyed while data is under way gives its link credit back', async () => {
    const pair = await openSessionPair({ delayMs: 5, bytesPerMs: 50_000 });
    for (let round = 0; round < 24; round += 1) {
      const [near, far] = await openStreamPair(pair); // 48 MiB in all, three times the link window
      near.write(Buffer.alloc(2 * MIB));
      await pair.clock.advance(round % 3 === 0 ? 100 : 10);
      (round % 2 === 0 ? near : far).destroy();
    }
    const [near, far] = await openStreamPair(pair);
    near.end(pattern(2 * MIB));
    expect((await pair.settled(readAll(far))).length).toBe(2 * MIB);
  });

  test('whose listener throws ends alone', async () => {
    const pair = await openSessionPair();
    const [near, far] = await openStreamPair(pair);
    far.on('data', () => {
      throw new Error('a bug of the application');
    });
    near.write('x');
    await pair.until(() => near.closed);
    expect(far.errored).toMatchObject({ message: 'a bug of the application' });
    expect([pair.left.closed, pair.right.closed]).toEqual([undefined, undefined]);
  });

  test('that was reset before it was accepted throws nowhere', async () => {
    const pair = await openSessionPair();
    const near = pair.left.session.openStream('test');
    await pair.until(() => pair.right.incoming.length === 1);
    near.destroy(new Error('changed my mind'));
    await pair.clock.advance(10);
    const far = pair.right.incoming[0]?.acceptStream() as LinkStream;
    expect(far.errored).toMatchObject({ message: 'changed my mind' });
    await pair.clock.advance(10);
    expect([pair.left.closed, pair.right.closed]).toEqual([undefined, undefined]);
  });

  test('of a link that ends tells every writer, reader and waiter why', async () => {
    const pair = await openSessionPair();
    const [near, far] = await openStreamPair(pair);
    await fill(near, () => pair.clock.advance(10));
    const written = new Promise((resolve) => near.write('blocked', resolve));
    const waiting = pair.left.session.openStream('never answered');
    const round = pair.left.session.ping();
    const reading = readAll(far);
    reading.catch(() => {});
    pair.left.session.close('LINK_SHUTDOWN', 'going home');
    const shutdown = { code: 'LINK_SHUTDOWN' };
    await expect(waiting.accepted).rejects.toMatchObject(shutdown);
    await expect(round).rejects.toMatchObject(shutdown);
    expect(await pair.settled(written)).toBeInstanceOf(Error);
    await expect(pair.settled(reading)).rejects.toMatchObject(shutdown);
    expect([pair.left.closed, pair.right.closed]).toMatchObject([shutdown, shutdown]);
    expect(() => pair.left.session.openStream('x')).toThrow(expect.objectContaining({ code: 'LINK_CLOSED' }));
    await expect(pair.left.session.ping()).rejects.toMatchObject({ code: 'LINK_CLOSED' });
    expect(pair.clock.pendingTimers).toBe(0);
  });

  test('beyond the number a link may have is not opened', async () => {
    const pair = await openSessionPair({ limits: { maxIncomingChannels: 3 } });
    const streams = [1, 2, 3].map(() => pair.left.session.openStream('test'));
    expect(() => pair.left.session.openStream('test')).toThrow(expect.objectContaining({ code: 'STREAM_LIMIT' }));
    streams[0]?.destroy();
    expect(() => pair.left.session.openStream('test')).not.toThrow();
  });

  test('with a long name or long metadata is not opened', async () => {
    const { left } = await openSessionPair();
    expect(() => left.session.openStream('x'.repeat(129))).toThrow(RangeError);
    expect(() => left.session.openStream('x', Buffer.alloc(4097))).toThrow(RangeError);
  });
});

describe('a session', () => {
  test('whose peer falls silent ends after three intervals', async () => {
    const pair = await openSessionPair({ failedAfterMs: 1e9, disconnectedAfterMs: 1e9 });
    await pair.clock.advance(20_000);
    expect(pair.left.closed).toBeUndefined(); // idle, but it answers
    pair.network.cut();
    await pair.clock.advance(20_000);
    expect([pair.left.closed, pair.right.closed]).toMatchObject([{ code: 'LINK_LOST' }, { code: 'LINK_LOST' }]);
  });

  test('measures the round trip', async () => {
    const pair = await openSessionPair({ delayMs: 40 });
    expect(await pair.settled(pair.left.session.ping())).toBe(80);
    expect(pair.left.session.stats().roundTripMs).toBe(80);
  });

  test('whose data channel fails ends as lost', async () => {
    const pair = await openSessionPair();
    (pair.left.lanes.get(1) as { send: unknown }).send = () => {
      throw new ClawError('ENGINE_CLOSED', 'the channel is closed');
    };
    pair.left.session.openStream('x');
    expect(pair.left.closed).toMatchObject({ code: 'LINK_LOST' });
  });

  test('whose lane was closed ends as lost', async () => {
    const pair = await openSessionPair();
    pair.left.lanes.get(3)?.close();
    await pair.clock.advance(10);
    expect([pair.left.closed, pair.right.closed]).toMatchObject([{ code: 'LINK_LOST' }, { code: 'LINK_LOST' }]);
  });
});
