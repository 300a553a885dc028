/** Cuts a byte stream into STUN messages and ChannelData, which says its length in the same place (RFC 8656, section 12.5). */

const STUN_HEADER_BYTES = 20;
const CHANNEL_HEADER_BYTES = 4;

export class StunFrames {
  #held: Buffer = Buffer.alloc(0);

  *push(bytes: Buffer): Generator<Buffer> {
    this.#held = Buffer.concat([this.#held, bytes]);
    for (;;) {
      if (this.#held.length < CHANNEL_HEADER_BYTES) return;
      const isChannel = this.#held.readUInt8(0) >> 6 === 1;
      const claimed = this.#held.readUInt16BE(2);
      // Over a stream ChannelData is padded to four bytes.
      const length = isChannel ? CHANNEL_HEADER_BYTES + Math.ceil(claimed / 4) * 4 : STUN_HEADER_BYTES + claimed;
      if (this.#held.length < length) return;
      const frame = this.#held.subarray(0, length);
      this.#held = this.#held.subarray(length);
      yield frame;
    }
  }
}
