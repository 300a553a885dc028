import { loadScenarios, type Scenario, selectScenarios } from '@claw/scenarios';
import { seededRandom } from '@claw/testkit';
import { describe, expect, test } from 'vitest';
import { type Endpoint, ReferencePeer, runReference } from '../src/index.ts';

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

  test('counts only the answer to a nomination as its answer, not that to an earlier question', () => {
    const [here, there]: Endpoint[] = [
      { address: '20.0.1.1', port: 1 },
      { address: '20.0.2.1', port: 2 },
    ];
    const peers = { a: peerAt('a', here as Endpoint, 1), b: peerAt('b', there as Endpoint, 2) };
    const [fromA] = [peers.a.poll(0), peers.b.poll(0)].map(({ signals }) => signals[0]);
    const tokenOfB = peerAt('b', there as Endpoint, 2).poll(0).signals[0];
    peers.a.handleSignal(tokenOfB as NonNullable<typeof tokenOfB>, 10);
    peers.b.handleSignal(fromA as NonNullable<typeof fromA>, 10);
    // b asks, which makes a ask again before its first question is answered.
    const first = peers.a.poll(10).datagrams;
    for (const { bytes } of peers.b.poll(10).datagrams) peers.a.handle(bytes, there as Endpoint, here as Endpoint, 40);
    const second = peers.a.poll(40).datagrams;
    for (const { bytes } of [...first, ...second]) peers.b.handle(bytes, here as Endpoint, there as Endpoint, 60);
    for (const { bytes } of peers.b.poll(60).datagrams) peers.a.handle(bytes, there as Endpoint, here as Endpoint, 80);
    expect(peers.b.state).toBe('checking');
    expect(peers.a.state).toBe('checking');
  });
});

function peerAt(role: 'a' | 'b', local: Endpoint, seed: number): ReferencePeer {
  return new ReferencePeer({ role, local: [local], stunServers: [], random: seededRandom(seed) });
}
