/**
 * Contexts of OpenSSL's ciphers (EVP_CipherInit_ex(3)). There is one for each
 * algorithm and direction, not for each key: it stays keyed until it is used with
 * another, and keying costs a third of a microsecond. So keys need no memory
 * outside of JavaScript's, and `forget` is all there is to their end.
 */

import { AEAD_TAG_BYTES, BLOCK_BYTES } from './sizes.ts';

type Pointer = unknown;
type Bytes = Uint8Array | null;

/** The calls that contexts make. All but `newContext` return 1 when they succeed. */
export interface EvpCalls {
  newContext(): Pointer;
  init(context: Pointer, cipher: Pointer, engine: null, key: Bytes, nonce: Bytes, direction: 0 | 1): number;
  setPadding(context: Pointer, padding: 0 | 1): number;
  update(context: Pointer, out: Bytes, written: Int32Array, bytes: Bytes, length: number): number;
  final(context: Pointer, out: Bytes, written: Int32Array): number;
  control(context: Pointer, type: number, length: number, bytes: Bytes): number;
  reset(context: Pointer): number;
}

/** EVP_CTRL_AEAD_GET_TAG and EVP_CTRL_AEAD_SET_TAG of openssl/evp.h. */
const GET_TAG = 0x10;
const SET_TAG = 0x11;

export class EvpContext {
  protected readonly calls: EvpCalls;
  protected readonly context: Pointer;
  /** How many bytes the last call wrote; nobody asks. */
  protected readonly written = new Int32Array(1);
  readonly #cipher: Pointer;
  readonly #direction: 0 | 1;
  #keyed: Uint8Array | undefined;

  constructor(calls: EvpCalls, cipher: Pointer, direction: 'open' | 'seal') {
    this.calls = calls;
    this.#cipher = cipher;
    this.#direction = direction === 'seal' ? 1 : 0;
    this.context = calls.newContext();
    if (!this.context) throw new Error('OpenSSL has no memory for a cipher');
    this.#setCipher();
  }

  /** Clears the context if it is keyed with that. */
  forget(key: Uint8Array): void {
    if (this.#keyed !== key) return;
    this.#keyed = undefined;
    expect(this.calls.reset(this.context));
    this.#setCipher();
  }

  /** @param nonce null for ciphers that have none */
  protected begin(key: Uint8Array, nonce: Uint8Array | null): void {
    const isKeyed = this.#keyed === key;
    this.#keyed = undefined;
    expect(this.calls.init(this.context, null, null, isKeyed ? null : key, nonce, this.#direction));
    this.#keyed = key;
  }

  #setCipher(): void {
    expect(this.calls.init(this.context, this.#cipher, null, null, null, this.#direction));
    expect(this.calls.setPadding(this.context, 0));
  }
}

export class EvpSealer extends EvpContext {
  readonly #tag = Buffer.alloc(AEAD_TAG_BYTES);

  /** Writes ciphertext and tag to `out`, which has the room. */
  seal(key: Uint8Array, nonce: Uint8Array, additional: Uint8Array, plaintext: Uint8Array, out: Buffer, at: number) {
    const { calls, context, written } = this;
    this.begin(key, nonce);
    expect(calls.update(context, null, written, additional, additional.length));
    expect(calls.update(context, out.subarray(at), written, plaintext, plaintext.length));
    expect(calls.final(context, this.#tag, written));
    expect(calls.control(context, GET_TAG, AEAD_TAG_BYTES, this.#tag));
    out.set(this.#tag, at + plaintext.length);
  }
}

export class EvpOpener extends EvpContext {
  readonly #tag = Buffer.alloc(AEAD_TAG_BYTES);

  /** Writes the plaintext over the ciphertext; false when the tag does not prove it, and then it must not be used. */
  open(key: Uint8Array, nonce: Uint8Array, additional: Uint8Array, sealed: Buffer): boolean {
    const { calls, context, written } = this;
    const length = sealed.length - AEAD_TAG_BYTES;
    this.#tag.set(sealed.subarray(length));
    this.begin(key, nonce);
    expect(calls.control(context, SET_TAG, AEAD_TAG_BYTES, this.#tag));
    expect(calls.update(context, null, written, additional, additional.length));
    expect(calls.update(context, sealed, written, sealed, length));
    return calls.final(context, this.#tag, written) === 1;
  }
}

export class EvpBlocks extends EvpContext {
  /** Writes one encrypted block to `out`. */
  encrypt(key: Uint8Array, block: Uint8Array, out: Buffer): void {
    this.begin(key, null);
    expect(this.calls.update(this.context, out, this.written, block, BLOCK_BYTES));
  }
}

function expect(result: number): void {
  if (result !== 1) throw new Error('a call of OpenSSL failed');
}
