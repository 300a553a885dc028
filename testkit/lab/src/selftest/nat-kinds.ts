/**
 * Each kind of NAT of the matrix, told by tools that know nothing of the lab:
 * coturn's `turnutils_natdiscovery` for mapping and filtering (RFC 5780) and for
 * the ports of one new socket after another, and `ping` with small hop limits for
 * how many routers there are.
 */

import { loadAccess, type PortAllocationSpec, twoPeers } from '@claw/scenarios';
import { finished } from '../world/command.ts';
import { type OpenedLab, openLab } from '../world/open-lab.ts';
import { type SelftestRow, wordRow } from './row.ts';

const KINDS = ['eim-eif', 'eim-adf', 'eim-apdf', 'apdm-sequential', 'apdm-random', 'cgnat-block', 'double-nat'];
const SERVER = '20.0.0.10';
const SOCKETS = 6;
/** Others take ports in between. */
const MAX_STEP = 16;

export async function natKindRows(seed: number): Promise<SelftestRow[]> {
  const rows = await Promise.all(KINDS.map((kind) => classify(kind, seed)));
  return rows.flat();
}

async function classify(kind: string, seed: number): Promise<SelftestRow[]> {
  const access = loadAccess(kind);
  const none = loadAccess('none');
  await using lab = await openLab(twoPeers({ a: access, b: none, links: { a: {}, b: {} } }), { seed });
  const discovery = await output(lab, ['turnutils_natdiscovery', '-m', '-f', SERVER]);
  const ports: number[] = [];
  for (let socket = 0; socket < SOCKETS; socket += 1) {
    const [first] = reflexive(await output(lab, ['turnutils_natdiscovery', '-m', SERVER]));
    if (first) ports.push(first.mapped);
  }
  const routers = await countRouters(lab);

  const strictest = access.routers.flatMap(({ nat }) => nat ?? []).at(-1);
  if (!strictest) return [];
  const asked = [
    SHORT[`mapping ${strictest.mapping}`],
    SHORT[`filtering ${strictest.filtering}`],
    `ports ${strictest.ports.kind}`,
    hops(access.routers.length),
  ];
  const measured = [
    ...readDiscovery(discovery),
    `ports ${describePorts(discovery, ports, strictest.ports)}`,
    hops(routers),
  ];
  return [wordRow(access.label, asked.join(', '), measured.join(', '))];
}

const SHORT: Readonly<Record<string, string>> = {
  'mapping endpoint-independent': 'EIM',
  'mapping address-dependent': 'ADM',
  'mapping address-and-port-dependent': 'APDM',
  'filtering endpoint-independent': 'EIF',
  'filtering address-dependent': 'ADF',
  'filtering address-and-port-dependent': 'APDF',
};

/** "NAT with Endpoint Independent Mapping!" */
function readDiscovery(text: string): string[] {
  return ['mapping', 'filtering'].map((aspect) => {
    const [, dependence] = new RegExp(`NAT with ([A-Za-z ]+?) ${aspect}!`, 'i').exec(text) ?? [];
    if (dependence === undefined) return `${aspect} unknown`;
    const words = dependence.toLowerCase().replaceAll(' ', '-');
    return SHORT[`${aspect} ${words}`] ?? `${aspect} ${words}`;
  });
}

/** What the ports look like; the kind that was asked for decides only how wide a block is. */
function describePorts(discovery: string, ports: readonly number[], asked: PortAllocationSpec): string {
  const pairs = reflexive(discovery);
  if (pairs.length > 0 && pairs.every(({ mapped, local }) => mapped === local)) return 'preserving';
  const steps = ports.slice(1).map((port, index) => port - (ports[index] ?? 0));
  if (ports.length < SOCKETS) return 'unknown';
  if (steps.every((step) => step > 0 && step <= MAX_STEP)) return 'sequential';
  const spread = Math.max(...ports) - Math.min(...ports);
  return asked.kind === 'block' && spread < asked.blockSize ? 'block' : 'random';
}

function reflexive(text: string): { mapped: number; local: number }[] {
  const mapped = [...text.matchAll(/UDP reflexive addr: [\d.]+:(\d+)/g)].map(([, port]) => Number(port));
  const local = [...text.matchAll(/Local addr: : [\d.]+:(\d+)/g)].map(([, port]) => Number(port));
  return mapped.map((port, index) => ({ mapped: port, local: local[index] ?? 0 }));
}

/** The smallest hop limit with which the server answers, less one. */
async function countRouters(lab: OpenedLab): Promise<number> {
  for (let limit = 1; limit < 8; limit += 1) {
    const text = await output(lab, ['ping', '-n', '-c', '1', '-W', '1', '-t', String(limit), SERVER]);
    if (/ [1-9]\d* received/.test(text)) return limit - 1;
    if (!text.includes('Time to live exceeded')) return Number.NaN;
  }
  return Number.NaN;
}

const hops = (count: number) => `${count} router${count === 1 ? '' : 's'}`;

/** What a tool printed, whatever its status: discovery ends with 1 behind some NATs, ping without an answer. */
function output(lab: OpenedLab, command: [string, ...string[]]): Promise<string> {
  const child = lab.spawn('a', ['sh', '-c', `"$@" 2>&1 || true`, 'sh', ...command], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return finished(child, command.join(' '));
}
