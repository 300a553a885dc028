import { seededRandom } from '@claw/testkit';
import { expect, test } from 'vitest';
import { SctpAssociation } from '../src/index.ts';
import { Pair } from './pair.ts';

test('a peer on another port is spoken to there once its description is known', () => {
  const pair = new Pair({ delayMs: 10 }, { localPort: 6000 });
  const seen = new Set<number>();
  pair.forward.filter = (packet) => seen.add(packet.readUInt16BE(2)) !== undefined;
  pair.a.association.remotePort = 6000;
  pair.b.association.remotePort = 6000;
  pair.connect();
  expect([...seen]).toEqual([6000]);
});

test('an unknown port is kept until then, and packets of other ports are none', () => {
  const pair = new Pair({ delayMs: 10 }, { localPort: 6000 });
  pair.a.connect();
  pair.b.connect();
  pair.run(3000);
  expect(pair.isConnected).toBe(false);
});

test('a port that is none is refused', () => {
  const options = { random: seededRandom(1), send: () => {} };
  expect(() => new SctpAssociation({ ...options, localPort: 0 })).toThrow(RangeError);
  const association = new SctpAssociation(options);
  expect(() => {
    association.remotePort = 65_536;
  }).toThrow(RangeError);
});
