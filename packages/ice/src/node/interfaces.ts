/** Which addresses of this machine take part: the order is the preference. */

import { networkInterfaces } from 'node:os';
import { canonicalAddress, familyOf, isLinkLocal, isLoopback } from '../address.ts';

export interface InterfaceOptions {
  /** Loopback addresses take part too. Default: only when there is nothing else. */
  readonly loopback?: boolean | undefined;
}

/** IPv6 and IPv4 in turns (RFC 8421 §4), loopback last; link-local addresses are left out. */
export function listLocalAddresses(options: InterfaceOptions = {}): string[] {
  const found = new Set(
    Object.values(networkInterfaces()).flatMap((addresses) =>
      (addresses ?? []).flatMap(({ address }) => canonicalAddress(address) ?? []),
    ),
  );
  const usable = [...found].filter((address) => !isLinkLocal(address));
  const outer = usable.filter((address) => !isLoopback(address));
  const loopback = usable.filter(isLoopback);
  const chosen = interleave(outer);
  return options.loopback || chosen.length === 0 ? [...chosen, ...interleave(loopback)] : chosen;
}

function interleave(addresses: readonly string[]): string[] {
  const v6 = addresses.filter((address) => familyOf(address) === 6);
  const v4 = addresses.filter((address) => familyOf(address) === 4);
  const longest = Math.max(v6.length, v4.length);
  return Array.from({ length: longest }, (_, index) => [v6[index], v4[index]])
    .flat()
    .filter((address) => address !== undefined);
}
