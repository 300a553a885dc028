/** CIDR prefixes, as far as the lab asks: what lies in one, and how long it is. */

import { BlockList, isIPv4 } from 'node:net';

/** A list that contains the prefix and nothing else. */
export function prefixOf(cidr: string): BlockList {
  const [address = '', length] = cidr.split('/');
  const list = new BlockList();
  list.addSubnet(address, Number(length), isIPv4(address) ? 'ipv4' : 'ipv6');
  return list;
}

export function prefixLength(cidr: string): number {
  return Number(cidr.slice(cidr.indexOf('/') + 1));
}
