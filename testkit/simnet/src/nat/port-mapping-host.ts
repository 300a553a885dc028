/** What NAT-PMP and PCP ask of the NAT they speak for. */

import type { Endpoint } from './flow.ts';

export const PORT_MAPPING_PORT = 5351;
/** Longer wishes are cut to this. */
export const MAX_LIFETIME_S = 7200;

export interface PortMappingWish {
  readonly protocol: 'udp' | 'tcp';
  readonly inside: Endpoint;
  /** 0: any. */
  readonly outsidePort: number;
  readonly lifetimeMs: number;
}

/** What the NAT does for these protocols. */
export interface PortMappingHost {
  readonly outsideAddress: string;
  /** The outside port, or undefined when there is none left. */
  mapPort(wish: PortMappingWish): number | undefined;
  unmapPort(protocol: 'udp' | 'tcp', inside: { readonly address: string; readonly port: number | 'all' }): void;
}
