/**
 * Where later fragments go: the ends that the first one of their datagram was given.
 * The kernel hands fragments over in order, first ones first. A few dozen are kept.
 */

import type { Flow } from '@claw/simnet';
import { rewriteAddresses, undoHop } from './packet.ts';

const MAX_NOTES = 64;
const MORE_FRAGMENTS = 0x2000;
const OFFSET = 0x1fff;

export class FragmentNotes {
  readonly #ends = new Map<string, { readonly source: string; readonly destination: string }>();

  static isLater(packet: Buffer): boolean {
    return packet.length >= 20 && (packet.readUInt16BE(6) & OFFSET) !== 0;
  }

  /** To be called before `packet` is rewritten. */
  note(packet: Buffer, translated: Flow): void {
    if ((packet.readUInt16BE(6) & MORE_FRAGMENTS) === 0) return;
    for (const key of this.#ends.keys()) {
      if (this.#ends.size < MAX_NOTES) break;
      this.#ends.delete(key);
    }
    this.#ends.set(keyOf(packet), {
      source: translated.source.address,
      destination: translated.destination.address,
    });
  }

  /** False when the first fragment was not seen. */
  follow(packet: Buffer): boolean {
    const ends = this.#ends.get(keyOf(packet));
    if (!ends) return false;
    rewriteAddresses(packet, ends.source, ends.destination);
    undoHop(packet);
    return true;
  }
}

/** Protocol, identification and addresses: RFC 791, section 3.2. */
function keyOf(packet: Buffer): string {
  return `${packet.toString('latin1', 4, 6)}${packet.toString('latin1', 9, 10)}${packet.toString('latin1', 12, 20)}`;
}
