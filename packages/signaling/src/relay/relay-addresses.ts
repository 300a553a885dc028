/**
 * What a relay remembers about remote addresses: connections at once, and how much
 * of its rates each has used. Sans-IO. An IPv6 address counts as its /64, which is
 * what one subscriber has.
 */

import { isIPv6 } from 'node:net';
import { TokenBucket } from '../token-bucket.ts';
import type { RelayLimits } from './relay-limits.ts';

export class RelayAddress {
  readonly envelopes: TokenBucket;
  readonly bytes: TokenBucket;
  readonly arrivals: TokenBucket;
  connections = 0;

  constructor(limits: RelayLimits, nowMs: number) {
    const arrivals = limits.connectionsPerSecondPerAddress;
    this.envelopes = new TokenBucket({ perSecond: limits.envelopesPerSecondPerAddress }, nowMs);
    this.bytes = new TokenBucket({ perSecond: limits.bytesPerSecondPerAddress }, nowMs);
    this.arrivals = new TokenBucket({ perSecond: arrivals, burst: 5 * arrivals }, nowMs);
  }

  /** True when forgetting it changes nothing. */
  isIdle(nowMs: number): boolean {
    const buckets = [this.envelopes, this.bytes, this.arrivals];
    return this.connections === 0 && buckets.every((bucket) => bucket.isFull(nowMs));
  }
}

export class RelayAddresses {
  readonly #limits: RelayLimits;
  readonly #addresses = new Map<string, RelayAddress>();
  #connections = 0;

  constructor(limits: RelayLimits) {
    this.#limits = limits;
  }

  get connections(): number {
    return this.#connections;
  }

  get size(): number {
    return this.#addresses.size;
  }

  /** Counts a new connection, or returns `undefined` when there is no room for it. */
  admit(remoteAddress: string, nowMs: number): RelayAddress | undefined {
    if (this.#connections >= this.#limits.maxConnections) return undefined;
    const address = this.#find(addressKey(remoteAddress), nowMs);
    if (!address || address.connections >= this.#limits.maxConnectionsPerAddress) return undefined;
    if (!address.arrivals.take(1, nowMs)) return undefined;
    address.connections += 1;
    this.#connections += 1;
    return address;
  }

  /** Takes back one {@link admit}. */
  release(address: RelayAddress): void {
    address.connections -= 1;
    this.#connections -= 1;
  }

  /** Forgets the addresses that are as good as new. */
  sweep(nowMs: number): void {
    for (const [key, address] of this.#addresses) if (address.isIdle(nowMs)) this.#addresses.delete(key);
  }

  #find(key: string, nowMs: number): RelayAddress | undefined {
    const known = this.#addresses.get(key);
    if (known || this.#addresses.size >= this.#limits.maxAddresses) return known;
    const address = new RelayAddress(this.#limits, nowMs);
    this.#addresses.set(key, address);
    return address;
  }
}

/** What counts as one address: an IPv4 address, or the first 64 bits of an IPv6 address. */
export function addressKey(remoteAddress: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(remoteAddress);
  if (mapped) return mapped[1] as string;
  const address = remoteAddress.split('%', 1)[0] as string;
  if (!isIPv6(address)) return address;
  const [left = '', right] = address.split('::');
  const groups = left === '' ? [] : left.split(':');
  if (right !== undefined) {
    const tail = right === '' ? [] : right.split(':');
    // An IPv4 tail stands for two groups.
    const tailGroups = tail.length + (right.includes('.') ? 1 : 0);
    while (groups.length + tailGroups < 8) groups.push('0');
    groups.push(...tail);
  }
  return groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':');
}
