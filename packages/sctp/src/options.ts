/** What an association is built with, and its defaults. */

import type { Random } from '@claw/base';
import type { CongestionKind } from './congestion/congestion-control.ts';
import { LEAST_PACKET_BYTES } from './path-mtu.ts';
import type { SchedulerKind } from './stream-scheduler.ts';

export interface SctpOptions {
  readonly random: Random;
  /** Puts one packet on the path. The bytes are valid until it returns; it may drop them, and must not throw. */
  readonly send: (packet: Buffer) => void;
  /** Default 5000, as in WebRTC. */
  readonly localPort?: number;
  /** Default 5000. */
  readonly remotePort?: number;
  /** Greatest message taken from the peer, in bytes. Default 262,144; at most 16 MiB. */
  readonly maxMessageBytes?: number;
  /** What the peer may send ahead of the application's reading, in bytes. Default 4 MiB. */
  readonly receiveWindowBytes?: number;
  /** Default `claw`. */
  readonly congestion?: CongestionKind;
  /** Order among streams. Default `weighted`. */
  readonly scheduler?: SchedulerKind;
  /** Offer I-DATA (RFC 8260). Default true. */
  readonly interleaving?: boolean;
  /** Accept packets without a checksum, as the layer below authenticates them (RFC 9653). Default true. */
  readonly zeroChecksum?: boolean;
  /** Greatest packet to start with. Default 1,200 bytes. */
  readonly initialPacketBytes?: number;
  /** Greatest packet the path's probing goes to. Default 1,432 bytes; 16,384 suits DTLS over loopback. */
  readonly maxPacketBytes?: number;
  /** Default 500 ms. */
  readonly initialRtoMs?: number;
  /** Default 150 ms. */
  readonly minRtoMs?: number;
  /** What repeated timeouts back off to, at most. Default 3,000 ms, so that a path that comes back is used soon. */
  readonly maxRtoMs?: number;
  /** Timeouts in a row after which the peer is given up. Default 10. */
  readonly maxTimeouts?: number;
  /** A probe this long after the last packet; 0 for none. Default 30,000 ms. */
  readonly heartbeatIntervalMs?: number;
  /** How long a lone packet waits for its acknowledgement. Default 20 ms. */
  readonly delayedAckMs?: number;
  /** An INIT chunk made by {@link createInit} for the session description (SNAP); the association takes its numbers. */
  readonly localInit?: Buffer;
}

export type ResolvedOptions = Required<Omit<SctpOptions, 'localInit' | 'remotePort'>> & {
  readonly localInit: Buffer | undefined;
  /** Known for sure once the peer's description is. */
  remotePort: number;
};

export const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;
/** Stream ids run from 0 to 65,534 (RFC 8831 §6.2 keeps 65,535 out). */
export const MAX_STREAMS = 65_535;

export function resolveOptions(options: SctpOptions): ResolvedOptions {
  const resolved: ResolvedOptions = {
    random: options.random,
    send: options.send,
    localPort: options.localPort ?? 5000,
    remotePort: options.remotePort ?? 5000,
    maxMessageBytes: options.maxMessageBytes ?? 262_144,
    receiveWindowBytes: options.receiveWindowBytes ?? 4 * 1024 * 1024,
    congestion: options.congestion ?? 'claw',
    scheduler: options.scheduler ?? 'weighted',
    interleaving: options.interleaving ?? true,
    zeroChecksum: options.zeroChecksum ?? true,
    initialPacketBytes: options.initialPacketBytes ?? 1200,
    maxPacketBytes: options.maxPacketBytes ?? 1432,
    initialRtoMs: options.initialRtoMs ?? 500,
    minRtoMs: options.minRtoMs ?? 150,
    maxRtoMs: options.maxRtoMs ?? 3000,
    maxTimeouts: options.maxTimeouts ?? 10,
    heartbeatIntervalMs: options.heartbeatIntervalMs ?? 30_000,
    delayedAckMs: options.delayedAckMs ?? 20,
    localInit: options.localInit,
  };
  checkRange('maxMessageBytes', resolved.maxMessageBytes, 1, MAX_MESSAGE_BYTES);
  checkRange('receiveWindowBytes', resolved.receiveWindowBytes, 1500, 2 ** 30);
  checkRange('initialPacketBytes', resolved.initialPacketBytes, LEAST_PACKET_BYTES, 65_535);
  checkRange('maxPacketBytes', resolved.maxPacketBytes, LEAST_PACKET_BYTES, 65_535);
  checkRange('localPort', resolved.localPort, 1, 65_535);
  checkRange('remotePort', resolved.remotePort, 1, 65_535);
  return resolved;
}

export function checkRange(name: string, value: number, least: number, greatest: number): void {
  if (!Number.isInteger(value) || value < least || value > greatest) {
    throw new RangeError(`${name} is ${value}; it must be a whole number from ${least} to ${greatest}`);
  }
}
