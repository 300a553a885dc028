/**
 * Suspects that packets have become too large for the path (RFC 8899 §4.3, black holes):
 * round after round some are lost, and none as large arrives. Whether smaller ones do is
 * for others to find out.
 */

import { LEAST_PACKET_BYTES } from './path-mtu.ts';

export class SizeDoubt {
  /** Rounds in a row in which a large packet was lost. */
  losses = 0;
  /** When the first packet lost was sent. */
  sinceMs = 0;
  /** There was another loss. */
  isNews = false;
  /** The smallest packet that was lost; infinite when none was. */
  smallestBytes = Number.POSITIVE_INFINITY;
  #noticedMs = 0;

  /** A packet sent before the last loss was noticed belongs to the same round. */
  onLost(packetBytes: number, sentMs: number, nowMs: number): void {
    if (packetBytes <= LEAST_PACKET_BYTES || (this.losses > 0 && sentMs < this.#noticedMs)) return;
    if (this.losses++ === 0) this.sinceMs = sentMs;
    if (packetBytes < this.smallestBytes) this.smallestBytes = packetBytes;
    this.#noticedMs = nowMs;
    this.isNews = true;
  }

  onArrived(packetBytes: number): void {
    if (packetBytes >= this.smallestBytes) this.clear();
  }

  clear(): void {
    this.losses = 0;
    this.isNews = false;
    this.smallestBytes = Number.POSITIVE_INFINITY;
  }
}
