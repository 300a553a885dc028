import { seededRandom } from '@claw/testkit';
import { describe, expect, test } from 'vitest';
import type { LinkOptions } from './link.ts';
import { Pair, type PairOptions } from './pair.ts';

const impairments: readonly (readonly [string, LinkOptions])[] = [
  ['loss', { delayMs: 20, loss: 0.1 }],
  ['bursts of loss', { delayMs: 20, burst: { enter: 0.02, leave: 0.2 } }],
  ['reordering', { delayMs: 10, jitterMs: 30 }],
  ['duplication', { delayMs: 10, duplicate: 0.3, jitterMs: 5 }],
  ['corruption', { delayMs: 10, corrupt: 0.1 }],
  ['everything on a slow link', { delayMs: 10, rateMbps: 5, loss: 0.05, jitterMs: 10, duplicate: 0.05, corrupt: 0.03 }],
];
const modes: readonly (readonly [string, PairOptions])[] = [
  ['I-DATA', { zeroChecksum: false }],
  ['DATA', { zeroChecksum: false, interleaving: false, congestion: 'cubic' }],
];

describe.each(modes)(
  'with %s every reliable message arrives exactly once, in order on ordered channels',
  (_, options) => {
    test.each(impairments)('through %s', (_name, link) => {
      for (let seed = 1; seed <= 6; seed++) {
        const pair = new Pair({ ...link, seed }, options).connect();
        const { fraction } = seededRandom(seed);
        const ends = [pair.a, pair.b] as const;
        const sent = new Map<string, string[]>();
        for (const [side, end] of ends.entries()) {
          for (const isOrdered of [true, false]) {
            for (let at = 0; at < 2; at++) {
              const channel = end.open({ label: `${side} ${isOrdered} ${at}`, isOrdered });
              sent.set(channel.label, []);
              for (let number = 0; number < 25; number++) {
                const size = fraction() < 0.5 ? Math.floor(fraction() * 200) : Math.floor(fraction() * 20_000);
                const body = Buffer.alloc(size, number + at);
                body.write(`${number};`.slice(0, size));
                sent.get(channel.label)!.push(body.toString('latin1'));
                channel.send(body, pair.simulation.nowMs);
              }
            }
          }
          end.settle();
        }
        pair.run(120_000, () => pair.a.messages.length >= 100 && pair.b.messages.length >= 100);
        // What comes late or twice must show.
        pair.run(3000);
        expect([seed, pair.a.association.state, pair.a.error, pair.b.error]).toEqual([
          seed,
          'connected',
          undefined,
          undefined,
        ]);
        for (const [side, end] of ends.entries()) {
          const got = new Map<string, string[]>();
          for (const { channel, data } of ends[1 - side]!.messages) {
            const list = got.get(channel.label) ?? [];
            list.push(data.toString('latin1'));
            got.set(channel.label, list);
          }
          for (const [label, bodies] of sent) {
            if (!label.startsWith(String(side))) continue;
            const arrived = got.get(label) ?? [];
            const isOrdered = label.includes('true');
            expect([seed, label, isOrdered ? arrived : arrived.toSorted()]).toEqual([
              seed,
              label,
              isOrdered ? bodies : bodies.toSorted(),
            ]);
          }
          expect(end.association.statistics.heldBytes).toBe(0);
          expect(end.association.statistics.inFlightBytes).toBe(0);
        }
      }
    });
  },
);

describe.each(modes)('with %s a message of limited reliability', (_, options) => {
  test.each([true, false])(
    'without retransmissions is lost with its packets, and the rest arrives (ordered: %s)',
    (isOrdered) => {
      for (let seed = 1; seed <= 5; seed++) {
        const pair = new Pair({ delayMs: 20, loss: 0.2, seed }, options).connect();
        const channel = pair.a.open({ isOrdered, maxRetransmits: 0 });
        const reliable = pair.a.open({ label: 'reliable' });
        pair.run(2000);
        for (let number = 0; number < 200; number++) {
          pair.a.send(channel, Buffer.from(`${number};${'x'.repeat(number % 10 === 0 ? 5000 : 20)}`));
          if (number % 20 === 0) pair.a.send(reliable, String(number));
          pair.run(5);
        }
        pair.run(20_000);
        const numbers = pair.b.messages
          .filter((message) => message.channel.id === channel.id)
          .map(({ data }) => Number.parseInt(data.toString(), 10));
        expect(numbers.length).toBeGreaterThan(110);
        expect(numbers.length).toBeLessThan(195);
        if (isOrdered) expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
        expect(new Set(numbers).size).toBe(numbers.length);
        expect(pair.b.messages.filter((message) => message.channel.label === 'reliable')).toHaveLength(10);
        // Nothing is left behind at either end.
        expect(channel.bufferedAmount).toBe(0);
        expect(pair.a.association.statistics.inFlightBytes).toBe(0);
        expect(pair.b.association.statistics.heldBytes).toBe(0);
        const { packets } = pair.forward;
        pair.run(5000);
        expect(pair.forward.packets - packets).toBeLessThan(3);
      }
    },
  );

  test('with a lifetime is dropped from a queue that stands', () => {
    const pair = new Pair({ delayMs: 10, rateMbps: 1, seed: 2 }, options).connect();
    const channel = pair.a.open({ maxPacketLifeTimeMs: 200 });
    pair.run(500);
    for (let number = 0; number < 100; number++) pair.a.send(channel, Buffer.alloc(5000, number));
    pair.run(10_000);
    expect(channel.bufferedAmount).toBe(0);
    expect(pair.b.messages.length).toBeGreaterThan(2);
    expect(pair.b.messages.length).toBeLessThan(20);
    pair.a.send(channel, 'last');
    pair.run(1000);
    expect(pair.b.messages.at(-1)!.data.toString()).toBe('last');
  });
});

test('a lost tail is probed for long before the retransmission timeout', () => {
  const pair = new Pair({ delayMs: 10 }, { minRtoMs: 1000 }).connect();
  const channel = pair.a.open();
  pair.run(500);
  for (let number = 0; number < 10; number++) {
    pair.a.send(channel, 'warm');
    pair.run(100);
  }
  const startMs = pair.simulation.nowMs;
  let dropped = 0;
  pair.forward.filter = () => dropped++ > 0;
  pair.a.send(channel, 'tail');
  pair.run(5000, () => pair.b.messages.at(-1)!.data.toString() === 'tail');
  expect(pair.simulation.nowMs - startMs).toBeLessThan(150);
});
