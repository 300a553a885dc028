/** A path that becomes much longer on the way, so that every timeout comes too early at first. */

import { expect, test } from 'vitest';
import { Link } from './link.ts';
import { Pair } from './pair.ts';
import { Simulation } from './simulation.ts';

test('is learnt in seconds, and then nothing is sent twice', () => {
  const simulation = new Simulation();
  const options = { delayMs: 10, rateMbps: 2, queueBytes: 1_000_000 };
  const [forward, backward] = [new Link(simulation, options), new Link(simulation, options)];
  const pair = new Pair({}, {}, { simulation, forward, backward }).connect();
  const channel = pair.a.open();
  pair.run(1000);
  options.delayMs = 300;
  for (let sent = 0; sent < 100; sent++) pair.a.send(channel, Buffer.alloc(5000));
  pair.run(5000);
  const before = pair.a.association.statistics.retransmissions;
  pair.run(25_000);
  expect(pair.a.association.statistics.retransmissions).toBe(before);
  expect(pair.b.messages).toHaveLength(100);
});
