import { expect, test } from 'vitest';
import { Pair } from './pair.ts';

const SACK = 3;
const DATA = [0, 64];

/** A sends bulk to b, on a path that loses some; packets with data from a, and SACKs of b. */
function count(sparesAcks: boolean, loss = 0) {
  const pair = new Pair({ delayMs: 10, rateMbps: 50, loss, seed: 2 });
  pair.b.association.sparesAcks = sparesAcks;
  pair.connect();
  const counts = { data: 0, sacks: 0, ahead: 0 };
  pair.backward.filter = (packet) => {
    if (packet[12] === SACK) counts.sacks += 1;
    return true;
  };
  pair.forward.filter = (packet) => {
    if (DATA.includes(packet[12] as number)) counts.data += 1;
    return true;
  };
  const channel = pair.a.open();
  for (let sent = 0; sent < 100; sent += 1) channel.send(Buffer.alloc(16_384), pair.simulation.nowMs);
  pair.a.settle();
  pair.run(5000, () => pair.b.messages.length === 100);
  return counts;
}

test('each second packet is acknowledged, as senders want that count SACKs; ours needs fewer', () => {
  const [counted, spared] = [count(false), count(true)];
  expect(counted.sacks).toBeGreaterThanOrEqual(Math.floor(counted.data / 2));
  expect(spared.sacks).toBeLessThan(spared.data / 3);
});

test('while there is a gap each packet is acknowledged, so that a count of three comes soon', () => {
  const { data, sacks } = count(false, 0.05);
  expect(sacks).toBeGreaterThan(data / 2);
});

test.each([
  ['counts them', false, 4],
  ['does not', true, 1],
])(
  'of eight packets that arrive together, to a sender that %s, go as many SACKs as that asks for',
  (_, sparesAcks, sacks) => {
    const pair = new Pair({ delayMs: 10 });
    pair.b.association.sparesAcks = sparesAcks;
    pair.connect();
    const channel = pair.a.open();
    // The sender learns that the path takes eight.
    pair.a.send(channel, Buffer.alloc(200_000));
    pair.run(1000);
    const packets: Buffer[] = [];
    pair.forward.filter = (packet) => {
      if (DATA.includes(packet[12] as number)) packets.push(Buffer.from(packet));
      return false;
    };
    pair.a.send(channel, Buffer.alloc(11_000));
    expect(packets).toHaveLength(8);
    let sent = 0;
    pair.backward.filter = (packet) => {
      if (packet[12] === SACK) sent += 1;
      return true;
    };
    // Time passes while they are read.
    const { nowMs } = pair.simulation;
    const { association } = pair.b;
    association.together(nowMs, () => {
      for (const [at, packet] of packets.entries()) association.receive(packet, nowMs + (at + 1) / 100);
    });
    expect(sent).toBe(sacks);
  },
);
