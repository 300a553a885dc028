/** Where packets leave: control chunks that wait for the next one, and packets of a single chunk. */

import { PacketWriter } from './packet-writer.ts';
import { RingQueue } from './ring-queue.ts';

export interface PacketOutputOptions {
  readonly localPort: number;
  readonly remotePort: number;
  readonly send: (packet: Buffer) => void;
}

/** More than this is a flood of ours for a flood of the peer's. */
const MAX_WAITING_CHUNKS = 64;
const MAX_PACKET_BYTES = 65_535;

export class PacketOutput {
  readonly #options: PacketOutputOptions;
  readonly #writer = new PacketWriter();
  readonly #waiting = new RingQueue<Buffer>();

  constructor(options: PacketOutputOptions) {
    this.#options = options;
  }

  get hasWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** Adds a control chunk to the next packet. */
  add(chunk: Buffer): void {
    if (this.#waiting.length < MAX_WAITING_CHUNKS) this.#waiting.push(chunk);
  }

  clear(): void {
    this.#waiting.clear();
  }

  /** Sends a packet of the chunks that wait and what `fill` adds; false when that was nothing. */
  sendPacket(tag: number, limitBytes: number, withChecksum: boolean, fill: (writer: PacketWriter) => void): boolean {
    const writer = this.#writer;
    writer.open(this.#options.localPort, this.#options.remotePort, tag, limitBytes);
    for (let chunk = this.#waiting.peek(); chunk; chunk = this.#waiting.peek()) {
      if (chunk.length > writer.roomBytes && !writer.isEmpty) break;
      writer.addBuilt(chunk);
      this.#waiting.shift();
    }
    fill(writer);
    const { isEmpty } = writer;
    if (!isEmpty) this.#options.send(writer.finish(withChecksum));
    writer.close();
    return !isEmpty;
  }

  /** Sends a packet of this chunk alone. */
  sendAlone(tag: number, chunk: Buffer, withChecksum: boolean): void {
    const writer = new PacketWriter();
    writer.open(this.#options.localPort, this.#options.remotePort, tag, MAX_PACKET_BYTES);
    writer.addBuilt(chunk);
    this.#options.send(writer.finish(withChecksum));
    writer.close();
  }
}
