import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import {
  checkTopology,
  type LossSpec,
  loadAccess,
  loadAccesses,
  loadScenarioFile,
  loadScenarios,
  selectScenarios,
  type Topology,
  twoPeers,
} from '../src/index.ts';

const folder = mkdtempSync(join(tmpdir(), 'claw-scenarios-'));
afterAll(() => rmSync(folder, { recursive: true }));

const FILE = {
  name: 'own',
  group: 'faults',
  about: 'One of mine.',
  peers: { a: 'none', b: 'eim-apdf' },
  measure: { pings: 3 },
};

function fileOf(change: object): string {
  const file = join(folder, 'own.json');
  writeFileSync(file, JSON.stringify({ ...FILE, ...change }));
  return file;
}

describe('the scenarios of the project', () => {
  const all = loadScenarios();

  it('hold every pair of the eleven access kinds', () => {
    expect(loadAccesses()).toHaveLength(11);
    const cells = all.filter((scenario) => scenario.group === 'nat').map((scenario) => scenario.name);
    expect(new Set(cells).size).toBe(121);
  });

  it('hold nine rungs that lose ever more', () => {
    const rungs = all.filter((scenario) => scenario.group === 'ladder');
    expect(rungs).toHaveLength(9);
    expect(averageLoss(rungs.at(-1)?.topology.nodes['a']?.interfaces['eth0']?.up?.loss)).toBeCloseTo(0.25, 3);
  });

  it('have names of their own', () => {
    expect(new Set(all.map((scenario) => scenario.name)).size).toBe(all.length);
  });

  it('are chosen by name, by group and by file', () => {
    expect(selectScenarios(all, ['ladder'])).toHaveLength(9);
    expect(selectScenarios(all, ['nat/none'])).toHaveLength(11);
    expect(selectScenarios(all, ['nat/none/none', fileOf({})]).map(({ name }) => name)).toEqual([
      'nat/none/none',
      'faults/own',
    ]);
    expect(() => selectScenarios(all, ['lader'])).toThrow(expect.objectContaining({ code: 'SCENARIO_UNKNOWN' }));
  });
});

describe('a scenario file', () => {
  it.each([
    ['a misspelt key', { mesure: {} }, 'mesure'],
    ['a share above one', { links: { a: { up: { duplicateShare: 1.5 } } } }, 'links.a.up.duplicateShare'],
    ['an unknown event', { events: [{ atMs: 1, do: 'explode' }] }, 'events.0.do'],
    ['a node that is not there', { more: { interfaces: { c: {} } } }, '"c"'],
    ['an access that is not there', { peers: { a: 'none', b: 'nothing' } }, 'nothing.json'],
    [
      'an address outside of its network',
      { more: { interfaces: { a: { eth1: { network: 'internet', ipv4: '21.0.0.1' } } } } },
      '21.0.0.1 is not in 20.0.0.0/16',
    ],
    [
      'an address that is taken',
      { more: { interfaces: { a: { eth1: { network: 'internet', ipv4: '20.0.2.1' } } } } },
      'both have 20.0.2.1',
    ],
  ])('with %s is refused and the place named', (_, change, text) => {
    expect(() => loadScenarioFile(fileOf(change))).toThrow(text);
  });

  it('that is no JSON is refused', () => {
    const file = join(folder, 'broken.json');
    writeFileSync(file, '{');
    expect(() => loadScenarioFile(file)).toThrow(expect.objectContaining({ code: 'SCENARIO_INVALID' }));
  });
});

describe('the topology of two peers', () => {
  it('puts the routers of an access between the peer and the Internet', () => {
    const topology = twoPeers({ a: loadAccess('double-nat'), b: loadAccess('none'), links: { a: {}, b: {} } });
    expect(Object.keys(topology.nodes).toSorted()).toEqual(['a', 'a-r1', 'a-r2', 'b', 'core', 'services']);
    expect(() => checkTopology(topology, 'two')).not.toThrow();
  });

  it.each<[string, Topology, string]>([
    ['no network', { networks: {}, nodes: host({ network: 'n', ipv4: '10.0.0.1' }) }, 'there is no network "n"'],
    ['a broken prefix', { networks: { n: { ipv4: '10/8' } }, nodes: {} }, '10/8 is no IPv4 prefix'],
    ['no prefix', { networks: { n: {} }, nodes: {} }, 'neither'],
    [
      'a family that the network has not',
      { networks: { n: { ipv4: '10.0.0.0/8' } }, nodes: host({ network: 'n', ipv6: '2a0c::1' }) },
      'no ipv6 prefix',
    ],
  ])('with %s is refused', (_, topology, text) => {
    expect(() => checkTopology(topology, 'it')).toThrow(text);
  });
});

function host(eth0: { network: string; ipv4?: string; ipv6?: string }): Topology['nodes'] {
  return { h: { kind: 'host', interfaces: { eth0 } } };
}

function averageLoss(loss: LossSpec | undefined): number {
  if (loss?.model !== 'gilbert-elliott') return loss?.share ?? 0;
  const bad = loss.goodToBad / (loss.goodToBad + loss.badToGood);
  return bad * loss.lossInBad + (1 - bad) * loss.lossInGood;
}
