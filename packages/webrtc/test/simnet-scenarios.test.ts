/**
 * Two complete stacks through hundreds of networks, drawn from seeds, in virtual time. `CLAW_SCENARIOS` says how many
 * (`npm run fuzz` has thousands), `CLAW_SCENARIO` runs one alone, and `CLAW_CAPTURE` names a file for its packets.
 */

import { systemClock, systemRandom } from '@claw/base';
import { describe, expect, it, vi } from 'vitest';
import { runScenario } from './simnet-run.ts';
import { makeScenario, type StackScenario } from './simnet-scenario.ts';

const GATE_RUNS = 60;
const only = process.env['CLAW_SCENARIO'];
const runs = Number(process.env['CLAW_SCENARIOS'] ?? GATE_RUNS);
const seeds = only === undefined ? Array.from({ length: runs }, (_, index) => index + 1) : [Number(only)];
const CHUNK = 20;
const chunks = Array.from({ length: Math.ceil(seeds.length / CHUNK) }, (_, index) =>
  seeds.slice(index * CHUNK, (index + 1) * CHUNK),
);

const nameOf = ({ seed, about }: StackScenario) => `seed ${seed}: ${about}`;

describe('two stacks (fuzz)', () => {
  it.each(chunks)(
    'deliver everything once and in order or say why not, from seed %i on',
    { timeout: 120_000 },
    async (...chunk) => {
      for (const seed of chunk) {
        const scenario = makeScenario(seed);
        const { faults } = await runScenario(scenario);
        expect.soft(faults, nameOf(scenario)).toEqual([]);
      }
    },
  );

  it('take time and chance from nobody but the network that they are on', async () => {
    const spies = [
      vi.spyOn(globalThis, 'setTimeout'),
      vi.spyOn(globalThis, 'setInterval'),
      vi.spyOn(performance, 'now'),
      vi.spyOn(Date, 'now'),
      vi.spyOn(Math, 'random'),
      vi.spyOn(systemClock, 'monotonicMs'),
      vi.spyOn(systemClock, 'setTimer'),
      vi.spyOn(systemRandom, 'fraction'),
    ];
    const { faults } = await runScenario(makeScenario(1));
    const calls = spies.map((spy) => spy.mock.calls.length);
    for (const spy of spies) spy.mockRestore();
    expect(faults).toEqual([]);
    expect(calls).toEqual(spies.map(() => 0));
  });

  it('do the same to the microsecond for the same seed', async () => {
    const scenarios = Array.from({ length: 20 }, (_, index) => makeScenario(index + 1));
    // ECDSA signatures differ in length, and so would the time that they take on a line.
    for (const scenario of scenarios.filter(({ keyType }) => keyType === 'ed25519').slice(0, 6)) {
      const [first, second] = [await runScenario(scenario), await runScenario(scenario)];
      expect(second.trace, nameOf(scenario)).toEqual(first.trace);
    }
  });
});
