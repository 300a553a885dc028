import { loadScenarios, type Scenario, selectScenarios } from '@claw/scenarios';
import { describe, expect, test } from 'vitest';
import { runReference } from '../src/index.ts';

const scenarios = loadScenarios();
const NO_UDP = ['udp-blocked', 'tcp-443-only', 'proxy-only'];
const UNPREDICTABLE = ['apdm-sequential', 'apdm-random'];
const STRICT = [...UNPREDICTABLE, 'eim-apdf', 'cgnat-block', 'double-nat'];

/** What hole punching without port prediction can do, by how the two sides map and filter (Ford et al. 2005). */
function isPunchable({ cell }: Scenario): boolean {
  const { row = '', column = '' } = cell ?? {};
  if (NO_UDP.includes(row) || NO_UDP.includes(column)) return false;
  return (
    !(UNPREDICTABLE.includes(row) && STRICT.includes(column)) &&
    !(UNPREDICTABLE.includes(column) && STRICT.includes(row))
  );
}

const named = (name: string) => selectScenarios(scenarios, [name])[0] as Scenario;

describe('the reference peer', () => {
  test('punches every pair of NATs that can be punched, and no other', async () => {
    const cells = scenarios.filter(({ group }) => group === 'nat');
    for (const scenario of cells) {
      const { connected } = await runReference({ ...scenario, measure: { pings: 0 } }, { seed: 1 });
      expect({ name: scenario.name, connected }).toEqual({ name: scenario.name, connected: isPunchable(scenario) });
    }
    expect(cells).toHaveLength(121);
  });

  test('measures the round trip of its path', async () => {
    const result = await runReference(named('nat/eim-apdf/eim-apdf'), { seed: 1 });
    expect(result).toMatchObject({ connected: true, path: 'direct' });
    expect(result.roundTripMs).toEqual(new Array<number>(10).fill(40));
    expect(result.connectMs).toBeLessThan(150);
    expect(result.packetsSpent).toBeLessThan(25);
  });

  test('counts what a lossy link takes', async () => {
    const { stream } = await runReference(named('ladder/4-busy-wifi'), { seed: 2 });
    expect(stream?.lossShare).toBeGreaterThan(0.005);
    expect(stream?.lossShare).toBeLessThan(0.06);
  });

  test('sees how long nothing came while the network was cut', async () => {
    const { stream } = await runReference(named('faults/partition'), { seed: 1 });
    expect(stream?.longestGapMs.b).toBe(8050);
  });

  test('does the same with the same seed, to the byte of its capture', async () => {
    const run = (seed: number) => runReference(named('ladder/3-lte'), { seed, record: true });
    const [first, again, other] = [await run(3), await run(3), await run(4)];
    expect(first.capture?.equals(again.capture as Buffer)).toBe(true);
    expect({ ...first, capture: 0 }).toEqual({ ...again, capture: 0 });
    expect(first.capture?.equals(other.capture as Buffer)).toBe(false);
  });
});
