import type { RtcDataChannelInit } from '@claw/contracts';
import { expect, test } from 'vitest';
import { connectPair, MemoryRtcNetwork, type MemoryRtcOptions, VirtualClock } from '../src/index.ts';

/** A connected pair in virtual time with one channel. */
async function openPair(options: MemoryRtcOptions, init: Partial<RtcDataChannelInit> = {}) {
  const clock = new VirtualClock();
  const network = new MemoryRtcNetwork({ clock, ...options });
  const open = () => {
    const connection = network.engine.createPeerConnection({});
    return { connection, channels: [connection.createDataChannel('0', { negotiated: true, id: 0, ...init })] };
  };
  const [left, right] = [open(), open()];
  const connected = connectPair(left, right);
  await clock.advance(2 * (options.delayMs ?? 0));
  await connected;
  const received: { at: number; number: number }[] = [];
  right.channels[0]!.onmessage = (data) => received.push({ at: clock.monotonicMs(), number: data[0]! });
  return { clock, network, left, right, channel: left.channels[0]!, received };
}

test('a message takes the delay, and the rate on top', async () => {
  const { clock, channel, received } = await openPair({ delayMs: 10, bytesPerMs: 100 });
  const start = clock.monotonicMs();
  channel.send(Buffer.alloc(500, 1));
  channel.send(Buffer.alloc(500, 2));
  expect(channel.bufferedAmount).toBe(1000);
  await clock.advance(9);
  expect(received).toEqual([]);
  expect(channel.bufferedAmount).toBe(500);
  await clock.advance(11);
  expect(received).toEqual([
    { at: start + 15, number: 1 },
    { at: start + 20, number: 2 },
  ]);
});

test('loss is seeded and spares channels that are reliable', async () => {
  const run = async (seed: number, init: Partial<RtcDataChannelInit>) => {
    const { clock, channel, received } = await openPair({ seed, loss: 0.3 }, init);
    for (let number = 0; number < 200; number += 1) channel.send(Buffer.from([number]));
    await clock.advance(0);
    return received.map((message) => message.number);
  };
  const first = await run(1, { maxRetransmits: 0 });
  expect(first.length).toBeGreaterThan(110);
  expect(first.length).toBeLessThan(170);
  expect(await run(1, { maxRetransmits: 0 })).toEqual(first);
  expect(await run(2, { maxRetransmits: 0 })).not.toEqual(first);
  expect(await run(1, {})).toHaveLength(200);
});

test('reordering happens on unordered channels alone', async () => {
  const run = async (ordered: boolean) => {
    const { clock, channel, received } = await openPair({ delayMs: 5, reorder: 0.3 }, { ordered });
    for (let number = 0; number < 100; number += 1) channel.send(Buffer.from([number]));
    await clock.advance(20);
    return received.map((message) => message.number);
  };
  const sorted = Array.from({ length: 100 }, (_, number) => number);
  expect(await run(true)).toEqual(sorted);
  const unordered = await run(false);
  expect(unordered).not.toEqual(sorted);
  expect(unordered.toSorted((a, b) => a - b)).toEqual(sorted);
});

test('a cut path disconnects, and a mended one brings what was held up', async () => {
  const { clock, network, left, channel, received } = await openPair({ delayMs: 1 });
  const states: string[] = [];
  left.connection.onconnectionstatechange = () => states.push(left.connection.connectionState);
  network.cut();
  channel.send(Buffer.from([7]));
  await clock.advance(100);
  expect(states).toEqual(['disconnected']);
  expect(received).toEqual([]);
  network.mend();
  await clock.advance(1000);
  expect(states).toEqual(['disconnected', 'connected']);
  expect(received.map((message) => message.number)).toEqual([7]);
});

test('a path that stays cut fails both ends, and closing leaves nothing behind', async () => {
  const { clock, network, left, right } = await openPair({ delayMs: 1 });
  network.cut();
  await clock.advance(400);
  expect([left.connection.connectionState, right.connection.connectionState]).toEqual(['failed', 'failed']);
  left.connection.close();
  right.connection.close();
  expect(network.openConnections).toBe(0);
  expect(clock.pendingTimers).toBe(0);
});

test('a connection made while the path is cut fails', async () => {
  const clock = new VirtualClock();
  const network = new MemoryRtcNetwork({ clock });
  const [left, right] = [network.engine.createPeerConnection({}), network.engine.createPeerConnection({})];
  network.cut();
  await right.setRemoteDescription(await left.setLocalDescription());
  await left.setRemoteDescription(await right.setLocalDescription());
  await clock.advance(1000);
  expect(left.connectionState).toBe('failed');
});
