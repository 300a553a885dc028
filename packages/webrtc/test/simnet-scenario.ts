/** What befalls two stacks, drawn from a seed: their networks, servers, channels, messages, and what happens on the way. */

import {
  type AccessSpec,
  type LinkSpec,
  loadAccesses,
  type ScenarioEvent,
  type Topology,
  twoPeers,
} from '@claw/scenarios';
import { SIMNET_PROXY, SIMNET_TURN } from '@claw/simnet';
import type { SimSocketsOptions } from '@claw/simnet/ice';
import { seededRandom } from '@claw/testkit';
import type { RTCDataChannelInit } from '../src/index.ts';

export type SideName = 'a' | 'b';

export interface SendPlan {
  /** After the channel opened. */
  readonly atMs: number;
  readonly bytes: number;
  readonly isText: boolean;
}

export interface ChannelPlan {
  readonly label: string;
  readonly opener: SideName;
  /** After the connection stands; 0: before the first description. */
  readonly openAtMs: number;
  readonly init: RTCDataChannelInit;
  readonly isReliable: boolean;
  readonly sends: Readonly<Record<SideName, readonly SendPlan[]>>;
  /** Closed by its opener once all was sent. */
  readonly isClosed: boolean;
}

export type Incident =
  | ScenarioEvent
  /** The NAT forgets its mappings. */
  | { readonly atMs: number; readonly do: 'rebind'; readonly router: string }
  | {
      readonly atMs: number;
      readonly do: 'set-mtu';
      readonly node: string;
      readonly interface: string;
      readonly mtuBytes: number;
    };

export interface SideOptions {
  readonly iceServers: readonly { readonly urls: string; readonly username?: string; readonly credential?: string }[];
  readonly iceTransportPolicy: 'all' | 'relay';
  readonly proxy: SimSocketsOptions['proxy'];
  /** One socket for ICE and whatever else there is. */
  readonly isSharing: boolean;
}

export interface StackScenario {
  readonly seed: number;
  /** One line for people. */
  readonly about: string;
  readonly topology: Topology;
  readonly sides: Readonly<Record<SideName, SideOptions>>;
  readonly offerer: SideName;
  readonly isTrickling: boolean;
  readonly signalDelayMs: number;
  /** Restarts ICE when it is disconnected. */
  readonly isRestarting: boolean;
  /** Ed25519 has signatures of one length, so that the same seed gives the same packets. */
  readonly keyType: 'ed25519' | 'ecdsa';
  readonly channels: readonly ChannelPlan[];
  /** `atMs` after the connection stands. */
  readonly incidents: readonly Incident[];
  /** Whether a path exists at first. */
  readonly canConnect: boolean;
  /** Nothing happens that may end the connection. */
  readonly mustSurvive: boolean;
}

const SERVER = '20.0.0.10';
const TURN = { username: SIMNET_TURN.username, credential: SIMNET_TURN.credential };
const SERVERS = {
  stun: { urls: `stun:${SERVER}:3478` },
  'turn-udp': { urls: `turn:${SERVER}:3478`, ...TURN },
  'turn-tcp': { urls: `turn:${SERVER}:3478?transport=tcp`, ...TURN },
  'turn-tls': { urls: `turns:${SERVER}:443`, ...TURN },
} as const;
type ServerName = keyof typeof SERVERS;
const SERVER_SETS: readonly (readonly ServerName[])[] = [
  [],
  ['stun'],
  ['stun'],
  ['stun', 'turn-udp'],
  ['turn-udp'],
  ['stun', 'turn-tcp'],
  ['turn-tls'],
  ['stun', 'turn-udp', 'turn-tcp', 'turn-tls'],
  ['stun', 'turn-udp', 'turn-tcp', 'turn-tls'],
];
const PROXY = { host: SERVER, port: 3128, ...SIMNET_PROXY };
/** Largest sum of all messages, so that slow links end within minutes. */
const MAX_TOTAL_BYTES = 2_500_000;
const accesses = loadAccesses();

/** A few shorthands over a seed. */
class Dice {
  readonly #random;

  constructor(seed: number) {
    this.#random = seededRandom(seed * 2_654_435_761);
  }

  chance(share: number): boolean {
    return this.#random.fraction() < share;
  }

  between(least: number, most: number): number {
    return Math.floor(least + this.#random.fraction() * (most - least + 1));
  }

  /** More often near `least` than near `most`. */
  low(least: number, most: number): number {
    return Math.floor(least * (most / least) ** this.#random.fraction());
  }

  pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.#random.fraction() * from.length)] as T;
  }
}

export function makeScenario(seed: number): StackScenario {
  const dice = new Dice(seed);
  const notes: string[] = [];
  // Half of all pairs are easy, or most time would go to those that cannot connect.
  const easy = accesses.filter(({ name }) => ['none', 'eim-eif', 'eim-adf', 'eim-apdf', 'double-nat'].includes(name));
  const kinds = dice.chance(0.5) ? easy : accesses;
  const access = { a: dice.pick(kinds), b: dice.pick(kinds) };
  const servers = dice.pick(SERVER_SETS);
  const relayOnly = { a: dice.chance(0.08), b: dice.chance(0.08) };
  const hasRelay = servers.some((name) => name.startsWith('turn'));
  const policy = (side: SideName) => (hasRelay && relayOnly[side] ? 'relay' : 'all');
  // Dice of its own, so that what seeds meant before stays.
  const sharing = new Dice(seed + 1_000_000);
  const isSharing = { a: sharing.chance(0.15), b: sharing.chance(0.15) };
  const sideOptions = (side: SideName): SideOptions => ({
    isSharing: isSharing[side],
    iceServers: servers.map((name) => SERVERS[name]),
    iceTransportPolicy: policy(side),
    proxy: access[side].httpProxy ? PROXY : undefined,
  });
  const sides = { a: sideOptions('a'), b: sideOptions('b') };
  notes.push(`${access.a.name} and ${access.b.name}`, servers.join('+') || 'no servers');
  for (const side of ['a', 'b'] as const) {
    if (policy(side) === 'relay') notes.push(`${side} by relay only`);
    if (isSharing[side]) notes.push(`${side} shares its sockets`);
  }

  const harm = dice.chance(0.25) ? 'none' : dice.pick(['light', 'light', 'heavy'] as const);
  const links = { a: makeLinks(dice, harm, notes, 'a'), b: makeLinks(dice, harm, notes, 'b') };
  const mtuBytes = dice.pick([1500, 1500, 1500, 1492, 1280, 9000, dice.between(576, 1500)]);
  if (mtuBytes !== 1500) notes.push(`MTU ${mtuBytes}`);
  const topology = withMtu(twoPeers({ ...access, links }), mtuBytes);

  const canConnect = hasPath(access, servers, { a: policy('a'), b: policy('b') });
  const incidents = makeIncidents(dice, access, links, notes);
  const isLossy = harm === 'heavy';
  // TCP under heavy loss, or with a few packets into a burst of it, stalls for longer than ICE's consent lasts, and where large packets vanish for ever.
  const isStream = !hasUdpPath(access, servers, { a: policy('a'), b: policy('b') });
  const stalls = ({ dropAboveBytes, loss }: LinkSpec) =>
    dropAboveBytes !== undefined || loss?.model === 'gilbert-elliott';
  const isStalled = incidents.some((incident) => incident.do === 'set-link' && stalls(incident.link));
  const isFragile = isStream && (isLossy || stalls(links.a.up) || stalls(links.b.up) || isStalled);
  const scenario = {
    seed,
    topology,
    sides,
    offerer: dice.pick(['a', 'b'] as const),
    isTrickling: dice.chance(0.7),
    signalDelayMs: dice.pick([0, 20, 150, 800]),
    isRestarting: dice.chance(0.3),
    keyType: dice.chance(0.8) ? ('ed25519' as const) : ('ecdsa' as const),
    channels: makeChannels(dice, isLossy, notes),
    incidents,
    canConnect,
    mustSurvive: !isFragile && !incidents.some(mayEnd),
  };
  if (scenario.isRestarting) notes.push('restarts ICE');
  notes.push(`${scenario.offerer} offers${scenario.isTrickling ? ' and trickles' : ''}`);
  const outlook = canConnect ? (scenario.mustSurvive ? 'must deliver' : 'delivers or says why') : 'cannot connect';
  return { ...scenario, about: `${notes.join(', ')}: ${outlook}` };
}

function makeLinks(
  dice: Dice,
  harm: 'none' | 'light' | 'heavy',
  notes: string[],
  side: SideName,
): { up: LinkSpec; down: LinkSpec } {
  const delayMs = dice.low(1, 120);
  const rate = dice.chance(0.5) ? { rateBitsPerSecond: dice.low(1_000_000, 100_000_000) } : {};
  const base = { delayMs, ...rate };
  notes.push(
    `${side} ${delayMs} ms${rate.rateBitsPerSecond ? ` ${(rate.rateBitsPerSecond / 1e6).toFixed(1)} Mbit/s` : ''}`,
  );
  if (harm === 'none') return { up: base, down: base };
  // Of both sides together at most 20 %.
  const share = harm === 'heavy' ? dice.between(2, 10) / 100 : dice.between(0, 2) / 100;
  const loss =
    dice.chance(0.6) || share === 0
      ? ({ model: 'bernoulli', share } as const)
      : ({
          model: 'gilbert-elliott',
          goodToBad: share / 4,
          badToGood: 0.25,
          lossInGood: 0,
          lossInBad: dice.pick([0.5, 1]),
        } as const);
  const link: LinkSpec = {
    ...base,
    loss,
    ...(dice.chance(0.4) ? { jitterMs: dice.between(1, Math.max(1, delayMs)) } : {}),
    ...(dice.chance(0.4) ? { reorder: { share: dice.between(1, 10) / 100, holdMs: dice.between(1, 40) } } : {}),
    ...(dice.chance(0.3) ? { duplicateShare: dice.between(1, 10) / 100 } : {}),
    ...(dice.chance(0.3) ? { corruptShare: dice.between(1, 3) / 100 } : {}),
    ...(dice.chance(0.1) ? { dropAboveBytes: dice.between(1280, 1500) } : {}),
  };
  const what = [
    ...(share > 0 ? [`${share * 100} % lost${loss.model === 'bernoulli' ? '' : ' in bursts'}`] : []),
    ...(link.jitterMs ? ['jitter'] : []),
    ...(link.reorder ? ['reordering'] : []),
    ...(link.duplicateShare ? ['duplicates'] : []),
    ...(link.corruptShare ? ['corruption'] : []),
    ...(link.dropAboveBytes ? [`nothing above ${link.dropAboveBytes} B`] : []),
  ];
  if (what.length > 0) notes.push(`${side}: ${what.join(' ')}`);
  return { up: link, down: link };
}

function withMtu(topology: Topology, mtuBytes: number): Topology {
  if (mtuBytes === 1500) return topology;
  const nodes = Object.entries(topology.nodes).map(([name, node]) => {
    const isEdge = /^[ab](?:-r\d)?$/.test(name);
    const interfaces = Object.entries(node.interfaces).map(([label, each]) => {
      // A larger MTU helps only where everybody has it; a smaller one is the access line's.
      const isChanged = mtuBytes > 1500 || (isEdge && each.network === 'internet');
      return [label, isChanged ? { ...each, mtuBytes } : each];
    });
    return [name, { ...node, interfaces: Object.fromEntries(interfaces) }];
  });
  return { ...topology, nodes: Object.fromEntries(nodes) };
}

/** The node and interface of a side's line to the Internet. */
function lineOf(access: AccessSpec, side: SideName): { readonly node: string; readonly interface: string } {
  const count = access.routers.length;
  return count === 0 ? { node: side, interface: 'eth0' } : { node: `${side}-r${count}`, interface: 'outside' };
}

function makeIncidents(
  dice: Dice,
  access: Readonly<Record<SideName, AccessSpec>>,
  links: Readonly<Record<SideName, { readonly up: LinkSpec }>>,
  notes: string[],
): Incident[] {
  const incidents: Incident[] = [];
  const count = dice.chance(0.5) ? 0 : dice.between(1, 3);
  for (let index = 0; index < count; index += 1) {
    const side = dice.pick(['a', 'b'] as const);
    const atMs = dice.low(1, 4000);
    const line = lineOf(access[side], side);
    const { up: link } = links[side];
    const at = `at ${atMs} ms`;
    switch (dice.pick(['outage', 'outage', 'delay', 'delay', 'mtu', 'black hole', 'rebind', 'address', 'partition'])) {
      case 'outage': {
        const forMs = dice.low(50, 12_000);
        const isSilent = dice.chance(0.5);
        notes.push(`${side} cut off ${isSilent ? 'silently ' : ''}${at} for ${forMs} ms`);
        if (isSilent) {
          const gone: LinkSpec = { ...link, loss: { model: 'bernoulli', share: 1 } };
          incidents.push({ atMs, do: 'set-link', ...line, direction: 'both', link: gone });
          incidents.push({ atMs: atMs + forMs, do: 'set-link', ...line, direction: 'both', link });
        } else {
          incidents.push({ atMs, do: 'interface-down', ...line });
          incidents.push({ atMs: atMs + forMs, do: 'interface-up', ...line });
        }
        break;
      }
      case 'delay': {
        const delayMs = dice.low(1, 400);
        notes.push(`${side} at ${delayMs} ms ${at}`);
        incidents.push({ atMs, do: 'set-link', ...line, direction: 'both', link: { ...link, delayMs } });
        break;
      }
      case 'mtu': {
        const mtuBytes = dice.between(576, 1400);
        notes.push(`MTU of ${side} ${mtuBytes} ${at}`);
        incidents.push({ atMs, do: 'set-mtu', ...line, mtuBytes });
        break;
      }
      case 'black hole': {
        const dropAboveBytes = dice.between(700, 1400);
        notes.push(`nothing above ${dropAboveBytes} B at ${side} ${at}`);
        incidents.push({ atMs, do: 'set-link', ...line, direction: 'both', link: { ...link, dropAboveBytes } });
        break;
      }
      case 'rebind': {
        const routers = access[side].routers.flatMap((router, place) => (router.nat ? [`${side}-r${place + 1}`] : []));
        if (routers.length === 0) break;
        const router = dice.pick(routers);
        notes.push(`${router} forgets its mappings ${at}`);
        incidents.push({ atMs, do: 'rebind', router });
        break;
      }
      case 'address': {
        if (access[side].routers.length === 0) break;
        notes.push(`${side} gets another public address ${at}`);
        const ipv4 = `20.0.${side === 'a' ? 1 : 2}.${dice.between(2, 250)}`;
        incidents.push({ atMs, do: 'set-address', ...line, ipv4 });
        break;
      }
      case 'partition': {
        const forMs = dice.low(50, 8000);
        notes.push(`parted ${at} for ${forMs} ms`);
        // Routers of a side are with it.
        const nodes = [side, ...access[side].routers.map((_, place) => `${side}-r${place + 1}`)];
        incidents.push({ atMs, do: 'partition', nodes }, { atMs: atMs + forMs, do: 'heal' });
        break;
      }
    }
  }
  return incidents.toSorted((one, other) => one.atMs - other.atMs);
}

/** What a connection need not survive: mappings that are gone where nobody can reach in. */
function mayEnd(incident: Incident): boolean {
  if (incident.do === 'rebind' || incident.do === 'set-address') return true;
  // An interface that is down ends TCP and sockets on its address.
  return incident.do === 'interface-down' && incident.node.length === 1;
}

function makeChannels(dice: Dice, isLossy: boolean, notes: string[]): ChannelPlan[] {
  const count = dice.between(1, 5);
  let leftBytes = isLossy ? MAX_TOTAL_BYTES / 4 : MAX_TOTAL_BYTES;
  const hasLarge = dice.chance(0.3);
  const channels: ChannelPlan[] = [];
  for (let index = 0; index < count; index += 1) {
    const limit = dice.pick(['none', 'none', 'none', 'retransmits', 'lifetime'] as const);
    const isNegotiated = dice.chance(0.4);
    const makeSends = (): SendPlan[] => {
      const messages = dice.pick([0, 1, 2, 10, dice.between(1, 60)]);
      const isBurst = dice.chance(0.4);
      return Array.from({ length: messages }, () => {
        const wished = dice.chance(0.1)
          ? dice.between(0, 3)
          : hasLarge && dice.chance(0.15)
            ? dice.low(65_536, 1_048_576)
            : dice.low(1, dice.pick([100, 2000, 30_000]));
        const bytes = wished <= leftBytes ? wished : 1;
        leftBytes -= bytes;
        return { atMs: isBurst ? 0 : dice.low(1, 5000), bytes, isText: dice.chance(0.2) };
      }).toSorted((one, other) => one.atMs - other.atMs);
    };
    channels.push({
      label: `c${index}`,
      opener: dice.pick(['a', 'b'] as const),
      openAtMs: index === 0 || isNegotiated || dice.chance(0.6) ? 0 : dice.low(1, 3000),
      isReliable: limit === 'none',
      init: {
        ordered: dice.chance(0.6),
        priority: dice.pick(['very-low', 'low', 'medium', 'high'] as const),
        ...(limit === 'retransmits' ? { maxRetransmits: dice.between(0, 3) } : {}),
        ...(limit === 'lifetime' ? { maxPacketLifeTime: dice.between(0, 1000) } : {}),
        ...(isNegotiated ? { negotiated: true, id: 100 + index } : {}),
      },
      sends: { a: makeSends(), b: makeSends() },
      isClosed: dice.chance(0.2),
    });
  }
  const totalBytes = channels
    .flatMap(({ sends }) => [...sends.a, ...sends.b])
    .reduce((sum, { bytes }) => sum + bytes, 0);
  notes.push(`${count} channels, ${totalBytes} B`);
  return channels;
}

interface Traits {
  readonly isPublic: boolean;
  readonly hasUdp: boolean;
  readonly hasTcp: boolean;
  readonly hasTls: boolean;
  readonly isEndpointIndependent: boolean;
  readonly filtering: string;
}

function traitsOf(access: AccessSpec): Traits {
  const nats = access.routers.flatMap((router) => router.nat ?? []);
  const rules = access.routers.flatMap((router) => router.firewall?.rules ?? []);
  const blocksAll = rules.some((rule) => rule.action !== 'accept' && rule.protocol === undefined);
  const strictest = ['address-and-port-dependent', 'address-dependent', 'endpoint-independent'];
  return {
    isPublic: nats.length === 0,
    hasUdp: !blocksAll && !rules.some((rule) => rule.action !== 'accept' && rule.protocol === 'udp'),
    hasTcp: !blocksAll,
    hasTls: true,
    isEndpointIndependent: nats.every((nat) => nat.mapping === 'endpoint-independent'),
    filtering: strictest.find((each) => nats.some((nat) => nat.filtering === each)) ?? 'none',
  };
}

type Policies = Readonly<Record<SideName, 'all' | 'relay'>>;
type Accesses = Readonly<Record<SideName, AccessSpec>>;

/** By RFC 4787's terms: whether anything can get through. */
function hasPath(access: Accesses, servers: readonly ServerName[], policies: Policies): boolean {
  const [a, b] = [traitsOf(access.a), traitsOf(access.b)];
  if (hasUdpPath(access, servers, policies)) return true;
  const isDirect = policies.a === 'all' && policies.b === 'all';
  if (isDirect && ((a.hasTcp && b.isPublic) || (b.hasTcp && a.isPublic))) return true;
  const hasStream = (side: SideName) => relaysOf(access[side], servers).some((name) => name !== 'turn-udp');
  const knowsItself = (traits: Traits) =>
    traits.isPublic || servers.some((name) => name === 'stun' || name === 'turn-udp');
  const reaches = (side: SideName, traits: Traits) =>
    relaysOf(access[side], servers).length > 0 || (policies[side] === 'all' && traits.hasUdp && knowsItself(traits));
  return (hasStream('a') && reaches('b', b)) || (hasStream('b') && reaches('a', a));
}

/** Whether one of them is over UDP all the way. */
function hasUdpPath(access: Accesses, servers: readonly ServerName[], policies: Policies): boolean {
  const [a, b] = [traitsOf(access.a), traitsOf(access.b)];
  if (!a.hasUdp || !b.hasUdp) return false;
  if (servers.includes('turn-udp')) return true;
  if (policies.a === 'relay' || policies.b === 'relay') return false;
  if (a.isPublic || b.isPublic) return true;
  if (!servers.includes('stun')) return false;
  const accepts = (one: Traits, other: Traits) =>
    other.isEndpointIndependent || one.filtering !== 'address-and-port-dependent';
  return (a.isEndpointIndependent || b.isEndpointIndependent) && accepts(a, b) && accepts(b, a);
}

function relaysOf(access: AccessSpec, servers: readonly ServerName[]): ServerName[] {
  const { hasUdp, hasTcp } = traitsOf(access);
  const isUsable = {
    stun: false,
    'turn-udp': hasUdp,
    'turn-tcp': hasTcp || access.httpProxy === true,
    'turn-tls': true,
  };
  return servers.filter((name) => isUsable[name]);
}
