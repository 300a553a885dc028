/**
 * A scenario: two peers, `a` and `b`, on a topology, what happens to them on the
 * way, and what is asked of a contestant. One JSON file each under `data/`.
 */

import type { FirewallSpec, LinkSpec, NatSpec, Topology } from './topology.ts';

/** How a peer reaches the Internet: the routers between it and there, from the peer outwards. `data/access/NAME.json`. */
export interface AccessSpec {
  readonly name: string;
  /** For the column head of a grid, at most 14 characters. */
  readonly label: string;
  /** One sentence for people. */
  readonly about: string;
  readonly routers: readonly AccessRouterSpec[];
  /** The peer may use the HTTP proxy of the services host, and nothing else where the firewall says so. */
  readonly httpProxy?: boolean;
}

export interface AccessRouterSpec {
  readonly nat?: Omit<NatSpec, 'outside'>;
  /** `from` and `to` name `inside` and `outside`. */
  readonly firewall?: FirewallSpec;
}

/**
 * What happens while a scenario runs, `atMs` after the transfer or the watch began, the pings being over. `set-address` gives all addresses that the
 * interface has from then on: a family left out is taken away. `set-link` gives the whole LinkSpec.
 */
export type ScenarioEvent = { readonly atMs: number } & (
  | { readonly do: 'interface-down' | 'interface-up'; readonly node: string; readonly interface: string }
  | {
      readonly do: 'set-address';
      readonly node: string;
      readonly interface: string;
      readonly ipv4?: string;
      readonly ipv6?: string;
    }
  | { readonly do: 'set-gateway'; readonly node: string; readonly ipv4?: string; readonly ipv6?: string }
  | {
      readonly do: 'set-link';
      readonly node: string;
      readonly interface: string;
      readonly direction: 'up' | 'down' | 'both';
      readonly link: LinkSpec;
    }
  /** Nothing passes between the two groups of nodes until `heal`. */
  | { readonly do: 'partition'; readonly nodes: readonly string[] }
  | { readonly do: 'heal' }
  /** The processes on a host stop, with its interfaces; `service-*` concern what `services` names. */
  | { readonly do: 'sleep' | 'wake'; readonly node: string }
  | { readonly do: 'service-down' | 'service-up'; readonly node: string; readonly service: string }
  /** The wall clock of a host steps. A kernel cannot do this to one namespace: simnet only. */
  | { readonly do: 'clock-step'; readonly node: string; readonly byMs: number }
);

/** What is measured once connected. */
export interface MeasureSpec {
  /** 64-byte messages there and back, one after the other. Default 20. */
  readonly pings?: number;
  /** Reliable 16 KiB messages from a to b for this long. Default 0: no bulk. */
  readonly bulkMs?: number;
  /** Keep 64-byte messages going both ways, one each 50 ms, for this long, and record every gap. Default 0. */
  readonly watchMs?: number;
}

export interface Scenario {
  readonly name: string;
  readonly group: ScenarioGroup;
  readonly about: string;
  readonly topology: Topology;
  readonly events: readonly ScenarioEvent[];
  readonly measure: MeasureSpec;
  /** Whether a peer may leave by the HTTP proxy only. */
  readonly proxyOnly: { readonly a: boolean; readonly b: boolean };
  /** Time to connect, then the verdict is "no". */
  readonly connectTimeoutMs: number;
  /** One-way delay of the signals between the peers, carried outside of the network under test. */
  readonly signalDelayMs: number;
  /** Row and column of the grid it belongs to, when it belongs to one. */
  readonly cell?: { readonly row: string; readonly column: string };
  /** Why the lab cannot run it. */
  readonly simnetOnly?: string;
  /** Why simnet cannot run it. */
  readonly labOnly?: string;
}

export type ScenarioGroup = 'nat' | 'switch' | 'ladder' | 'faults';
