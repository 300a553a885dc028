/**
 * The names that browsers put in place of their addresses (draft-ietf-mmusic-mdns-ice-candidates §3.1.1): a UUID in
 * `.local`. No other name of a candidate is asked for, so that a peer cannot have us ask for the printer.
 */

import { familyOf, isLinkLocal } from '../address.ts';

/** Safari writes more than twelve digits at the end. */
const GENERATED = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12,39}\.local$/;

/** `name` in lower case. */
export function isGeneratedName(name: string): boolean {
  return GENERATED.test(name);
}

/** The one of its addresses that a name stands for (§3.2.1): IPv6 if there is any that can do without a zone. */
export function addressBehind(addresses: readonly string[]): string | undefined {
  const usable = addresses.filter((address) => familyOf(address) === 4 || !isLinkLocal(address));
  return usable.find((address) => familyOf(address) === 6) ?? usable[0];
}
