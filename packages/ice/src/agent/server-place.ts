import type { TransportAddress } from '../address.ts';
import type { ServerAddress } from '../candidate/server-url.ts';

/** A STUN or TURN server where it was found. */
export interface ServerPlace {
  readonly server: ServerAddress;
  /** Behind a proxy, which looks names up itself, the URL's host stands for it. */
  readonly address: TransportAddress;
  /** How often it sent us on (RFC 8656 §10, 300 Try Alternate). */
  readonly hops: number;
}
