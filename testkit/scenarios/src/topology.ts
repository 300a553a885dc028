/**
 * What a network is made of, as data: nodes with interfaces, the networks they
 * attach to, and what each attachment does to packets. `@claw/simnet` builds it
 * in virtual time, `@claw/lab` from network namespaces; both read only this.
 *
 * Units stand in the names. Shares are fractions of packets, 0 to 1.
 */

export interface Topology {
  readonly networks: Readonly<Record<string, NetworkSpec>>;
  readonly nodes: Readonly<Record<string, NodeSpec>>;
}

/** One broadcast domain. At least one of the prefixes is given. */
export interface NetworkSpec {
  /** CIDR, `198.51.100.0/24`. */
  readonly ipv4?: string;
  /** CIDR, `2001:db8:1::/64`. */
  readonly ipv6?: string;
}

export interface NodeSpec {
  /** A router forwards between its interfaces; a host does not. */
  readonly kind: 'host' | 'router';
  /** By interface name, at most 8 characters. */
  readonly interfaces: Readonly<Record<string, InterfaceSpec>>;
  /** Next hop of what is on no attached network, by family. */
  readonly gateway?: { readonly ipv4?: string; readonly ipv6?: string };
  /** IPv4 translation of what leaves through `nat.outside`. Routers only. */
  readonly nat?: NatSpec;
  /** What the node lets through when it forwards. Routers only. Default: everything. */
  readonly firewall?: FirewallSpec;
  /** Real programs in the lab, models in simnet. Hosts only. */
  readonly services?: readonly ServiceSpec[];
}

export interface InterfaceSpec {
  readonly network: string;
  /** Without prefix length; that of the network holds. */
  readonly ipv4?: string;
  readonly ipv6?: string;
  /** What the interface's own MTU is. Larger packets are answered with ICMP by a router, refused by a host. Default 1500. */
  readonly mtuBytes?: number;
  /** From the node into the network. Default: perfect. */
  readonly up?: LinkSpec;
  /** From the network to the node. Default: perfect. */
  readonly down?: LinkSpec;
  /** Whether the interface is up from the start. Default true. */
  readonly enabled?: boolean;
}

/** One direction of one attachment. What is left out does nothing. Order: loss, corruption, duplication, rate and queue, delay. */
export interface LinkSpec {
  /** Serialisation rate, bits of IP packets and their 14-byte Ethernet header a second. */
  readonly rateBitsPerSecond?: number;
  /** Bytes that may wait for the rate; what comes on top is dropped. Default: one bandwidth-delay product of `delayMs` × 2, at least 32 KiB. */
  readonly queueBytes?: number;
  readonly delayMs?: number;
  /** Added to the delay, uniform in ± this; order is kept. */
  readonly jitterMs?: number;
  readonly loss?: LossSpec;
  /** A packet of this share is held back by `holdMs` on top, so that later ones overtake it. */
  readonly reorder?: { readonly share: number; readonly holdMs: number };
  readonly duplicateShare?: number;
  /** One random bit after the IP header is turned over. */
  readonly corruptShare?: number;
  /** IP packets above this vanish without a word: an MTU black hole, or "pings pass, data does not". */
  readonly dropAboveBytes?: number;
  /** Shaping by token bucket instead of by `rateBitsPerSecond`: bursts pass at once, the rest waits in the queue. */
  readonly tokenBucket?: { readonly rateBitsPerSecond: number; readonly burstBytes: number };
}

export type LossSpec =
  | { readonly model: 'bernoulli'; readonly share: number }
  /** Two states; per packet, good turns bad with `goodToBad`, bad turns good with `badToGood`. Gilbert 1960, Elliott 1963. */
  | {
      readonly model: 'gilbert-elliott';
      readonly goodToBad: number;
      readonly badToGood: number;
      readonly lossInGood: number;
      readonly lossInBad: number;
    };

/** How far a mapping or a filter looks at the remote end: RFC 4787, sections 4.1 and 5. */
export type NatDependence = 'endpoint-independent' | 'address-dependent' | 'address-and-port-dependent';

export interface NatSpec {
  /** The interface whose IPv4 address is put on what leaves. */
  readonly outside: string;
  readonly mapping: NatDependence;
  readonly filtering: NatDependence;
  readonly ports: PortAllocationSpec;
  /** RFC 4787, REQ-9. Default false. */
  readonly hairpin?: boolean;
  /** A UDP mapping's life after the last packet out. Default 120,000. */
  readonly mappingLifetimeMs?: number;
  /** Mappings a second made by others on the same outside address. Default 0. */
  readonly foreignMappingsPerSecond?: number;
  /** The inside may ask for port forwarding by these. Default: none. */
  readonly portMapping?: readonly ('nat-pmp' | 'pcp')[];
}

export type PortAllocationSpec =
  /** The inside port where it is free, else the next free one. */
  | { readonly kind: 'preserving' }
  /** Each new mapping takes the last port plus `stride`. */
  | { readonly kind: 'sequential'; readonly first?: number; readonly stride?: number }
  | { readonly kind: 'random' }
  /** CGNAT, RFC 6888 and 7422: each inside address owns blocks of `blockSize` ports, random within them, at most `quota` mappings. */
  | { readonly kind: 'block'; readonly blockSize: number; readonly quota: number };

/** Rules are tried in order; the first that fits decides; without one the packet passes. Replies to what passed always pass. */
export interface FirewallSpec {
  readonly rules: readonly FirewallRule[];
}

export interface FirewallRule {
  readonly action: 'accept' | 'drop' | 'reject';
  /** Interface the packet comes in by. Default: any. */
  readonly from?: string;
  /** Interface the packet leaves by. Default: any. */
  readonly to?: string;
  readonly protocol?: 'udp' | 'tcp' | 'icmp';
  /** Destination ports. Default: any. */
  readonly ports?: readonly number[];
  /** Destination addresses. Default: any. */
  readonly addresses?: readonly string[];
}

export type ServiceSpec =
  /** coturn: STUN and TURN. `ports.udp`/`tcp` default 3478, `tls` 5349. Credentials are the lab's own. */
  | {
      readonly kind: 'turn';
      readonly udp?: number;
      readonly tcp?: number;
      readonly tls?: number;
      /** A second address of the host, for RFC 5780 answers. */
      readonly otherIpv4?: string;
    }
  /** HTTP CONNECT with basic authentication. Default port 3128. */
  | { readonly kind: 'http-proxy'; readonly port?: number }
  | { readonly kind: 'dns'; readonly port?: number };
