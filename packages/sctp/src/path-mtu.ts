/**
 * Packetization-layer path-MTU discovery (RFC 8899): one probe at a time, up a
 * ladder of sizes that paths have, as a HEARTBEAT that fills its packet; a size counts
 * once its HEARTBEAT ACK, which is as large, is here. A probe that is lost is repeated
 * twice as late each time, so that a search outlasts loss and outages.
 */

/** What every path carries: IPv4's 576 bytes, less UDP and DTLS. */
export const LEAST_PACKET_BYTES = 508;
const LADDER_BYTES = [768, 1024, 1200, 1280, 1360, 1408, 1432, 2048, 4096, 8192, 8900, 16_384, 32_768, 65_000];
const MAX_REPEAT_MS = 600_000;
const NEVER = Number.POSITIVE_INFINITY;

export class PathMtu {
  /** Greatest packet that may be sent. */
  packetBytes: number;
  /** The size being probed, 0 when none is. */
  probeBytes = 0;
  /** A probe should leave now. */
  isProbeDue = false;
  deadlineMs = NEVER;
  #basePacketBytes: number;
  #maxPacketBytes: number;
  #attempts = 0;

  constructor(basePacketBytes: number, maxPacketBytes: number) {
    this.#maxPacketBytes = inWords(maxPacketBytes);
    this.#basePacketBytes = Math.min(inWords(basePacketBytes), this.#maxPacketBytes);
    this.packetBytes = this.#basePacketBytes;
  }

  /** The path is up: search. */
  start(): void {
    this.#next();
  }

  stop(): void {
    this.probeBytes = 0;
    this.isProbeDue = false;
    this.deadlineMs = NEVER;
  }

  /** Another path: back to the base, then search. */
  restart(maxPacketBytes: number): void {
    this.#maxPacketBytes = inWords(maxPacketBytes);
    this.packetBytes = Math.min(this.#basePacketBytes, this.#maxPacketBytes);
    this.#next();
  }

  onProbeSent(timeoutMs: number, nowMs: number): void {
    this.isProbeDue = false;
    this.deadlineMs = nowMs + Math.min(timeoutMs * 2 ** this.#attempts, MAX_REPEAT_MS);
    this.#attempts++;
  }

  /** True when `packetBytes` has grown. */
  onProbeAcked(bytes: number): boolean {
    if (bytes !== this.probeBytes || bytes <= this.packetBytes) return false;
    this.packetBytes = bytes;
    this.#next();
    return true;
  }

  onTimeout(): void {
    this.isProbeDue = true;
    this.deadlineMs = NEVER;
  }

  /** Packets of the present size vanish and small ones do not (RFC 8899 §4.3): the search begins anew, from the bottom. */
  shrink(): void {
    this.packetBytes = LEAST_PACKET_BYTES;
    this.#next();
  }

  #next(): void {
    const candidate = LADDER_BYTES.find((bytes) => bytes > this.packetBytes) ?? this.#maxPacketBytes;
    const bytes = Math.min(candidate, this.#maxPacketBytes);
    this.#attempts = 0;
    this.deadlineMs = NEVER;
    this.probeBytes = bytes > this.packetBytes ? bytes : 0;
    this.isProbeDue = this.probeBytes > 0;
  }
}

/** Chunks are padded to four bytes: a packet has no other lengths. */
function inWords(bytes: number): number {
  return bytes & ~3;
}
