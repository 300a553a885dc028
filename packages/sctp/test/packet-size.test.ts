import { expect, test } from 'vitest';
import { Pair } from './pair.ts';

test.each([1409, 1410, 1411])('no packet is larger than the %i bytes that the layer below takes', (maxPacketBytes) => {
  const pair = new Pair({ delayMs: 5 }, { maxPacketBytes }).connect();
  let largest = 0;
  pair.forward.filter = (packet) => {
    largest = Math.max(largest, packet.length);
    return packet.length <= maxPacketBytes;
  };
  const channel = pair.a.open();
  pair.run(1000);
  // Some of these end a message, padding included, at the very end of a packet.
  for (let size = 1300; size < 1420; size += 1) pair.a.send(channel, Buffer.alloc(size));
  pair.run(5000);
  expect(largest).toBe(1408);
  expect(pair.b.messages).toHaveLength(120);
});
