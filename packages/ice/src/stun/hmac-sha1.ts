/**
 * HMAC-SHA-1 (RFC 2104, FIPS 180-4) for the short-term keys of connectivity checks, in JavaScript: node:crypto makes
 * three objects for each, which costs an agent that wakes up to check an idle path five times what the hash does. The
 * key is hashed once, what is left are a few blocks. No step depends on the bytes, so neither does the time.
 */

const BLOCK_BYTES = 64;
const DIGEST_WORDS = 5;
const ROUNDS = 80;
const START = Int32Array.of(0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0);

/** Only used within a call. */
const schedule = new Int32Array(ROUNDS);
const tail = Buffer.alloc(2 * BLOCK_BYTES);
const state = new Int32Array(DIGEST_WORDS);
const digest = Buffer.alloc(4 * DIGEST_WORDS);

export class HmacSha1 {
  readonly #inner: Int32Array;
  readonly #outer: Int32Array;

  constructor(key: Uint8Array) {
    const short = key.length > BLOCK_BYTES ? Buffer.from(finish(START, key, 0)) : key;
    this.#inner = padded(short, 0x36);
    this.#outer = padded(short, 0x5c);
  }

  /** What is returned holds until the next call. */
  digest(bytes: Uint8Array): Buffer {
    return finish(this.#outer, finish(this.#inner, bytes, BLOCK_BYTES), BLOCK_BYTES);
  }
}

function padded(key: Uint8Array, pad: number): Int32Array {
  const block = new Uint8Array(BLOCK_BYTES).fill(pad);
  for (const [at, byte] of key.entries()) block[at] = byte ^ pad;
  const after = Int32Array.from(START);
  compress(after, block, 0);
  return after;
}

/** Goes on with these bytes from a state that has `hashedBytes` behind it, to the end. */
function finish(from: Int32Array, bytes: Uint8Array, hashedBytes: number): Buffer {
  const { length } = bytes;
  state.set(from);
  let at = 0;
  for (; at + BLOCK_BYTES <= length; at += BLOCK_BYTES) compress(state, bytes, at);
  const rest = length - at;
  const tailBytes = rest + 9 > BLOCK_BYTES ? 2 * BLOCK_BYTES : BLOCK_BYTES;
  tail.fill(0);
  tail.set(at === 0 ? bytes : bytes.subarray(at));
  tail[rest] = 0x80;
  // The count of bits has 64, of which messages that fit into a datagram need 20.
  tail.writeUInt32BE((hashedBytes + length) * 8, tailBytes - 4);
  for (let block = 0; block < tailBytes; block += BLOCK_BYTES) compress(state, tail, block);
  for (let word = 0; word < DIGEST_WORDS; word += 1) digest.writeInt32BE(state[word] as number, 4 * word);
  return digest;
}

/** One block of 64 bytes (FIPS 180-4 §6.1.2). */
function compress(into: Int32Array, bytes: Uint8Array, start: number): void {
  for (let word = 0, at = start; word < 16; word += 1, at += 4) {
    const high = ((bytes[at] as number) << 24) | ((bytes[at + 1] as number) << 16);
    schedule[word] = high | ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number);
  }
  for (let word = 16; word < ROUNDS; word += 1) {
    const mixed = (schedule[word - 3] as number) ^ (schedule[word - 8] as number);
    schedule[word] = rotate(mixed ^ (schedule[word - 14] as number) ^ (schedule[word - 16] as number), 1);
  }
  let a = into[0] as number;
  let b = into[1] as number;
  let c = into[2] as number;
  let d = into[3] as number;
  let e = into[4] as number;
  for (let round = 0; round < ROUNDS; round += 1) {
    let mixed: number;
    if (round < 20) mixed = ((b & c) | (~b & d)) + 0x5a827999;
    else if (round < 40) mixed = (b ^ c ^ d) + 0x6ed9eba1;
    else if (round < 60) mixed = ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
    else mixed = (b ^ c ^ d) + 0xca62c1d6;
    const next = (rotate(a, 5) + mixed + e + (schedule[round] as number)) | 0;
    e = d;
    d = c;
    c = rotate(b, 30);
    b = a;
    a = next;
  }
  into[0] = (into[0] as number) + a;
  into[1] = (into[1] as number) + b;
  into[2] = (into[2] as number) + c;
  into[3] = (into[3] as number) + d;
  into[4] = (into[4] as number) + e;
}

function rotate(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}
