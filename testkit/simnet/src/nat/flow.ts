/** Who talks to whom, as a NAT sees it: the words between {@link NatCore} and whatever carries the packets. */

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

export type NatProtocol = 'udp' | 'tcp' | 'icmp';

/**
 * One direction of a conversation. Of an ICMP echo the port is the identifier, on
 * both ends; a NAT replaces it on the inside's end alone.
 */
export interface Flow {
  readonly protocol: NatProtocol;
  readonly source: Endpoint;
  readonly destination: Endpoint;
  /** The flag byte of a TCP segment. Without it a TCP mapping ends by idling only. */
  readonly tcpFlags?: number;
}

/** A mapping as people and tests look at it. */
export interface NatMapping {
  readonly protocol: NatProtocol;
  readonly inside: Endpoint;
  readonly outside: Endpoint;
  readonly expiresAtMs: number;
  /** Asked for by NAT-PMP or PCP. */
  readonly explicit: boolean;
}

export function isSameEndpoint(a: Endpoint, b: Endpoint): boolean {
  return a.address === b.address && a.port === b.port;
}
