/**
 * The handshake's transcript. DTLS 1.2 hashes messages with their DTLS header, as
 * if never fragmented (RFC 6347 §4.2.6); DTLS 1.3 with the header of TLS (RFC 9147
 * §5.2). Which of the two, and which hash, is known with the ServerHello only.
 */

import { createHash, type Hash } from 'node:crypto';
import { u8, vector24 } from './byte-writer.ts';
import type { CipherSuite } from './cipher-suites.ts';
import { FRAGMENT_HEADER_BYTES, type HandshakeMessage, writeFragmentHeader } from './handshake-message.ts';
import { handshakeType } from './registry.ts';

export class Transcript {
  #messages: HandshakeMessage[] = [];
  #suite: CipherSuite | undefined;
  #hash: Hash | undefined;

  add(message: HandshakeMessage): void {
    this.#messages.push(message);
    if (this.#suite) this.#hash?.update(framed(message, this.#suite.version === '1.2'));
  }

  /** Call once when version and hash are known. */
  start(suite: CipherSuite): void {
    this.#suite = suite;
    this.#hash = createHash(suite.hash);
    for (const message of this.#messages) this.#hash.update(framed(message, suite.version === '1.2'));
  }

  /** Forgets what came before a HelloVerifyRequest (RFC 6347 §4.2.6). */
  reset(): void {
    this.#messages = [];
  }

  /** Puts the hash of ClientHello1 in its place, before a HelloRetryRequest is added (RFC 8446 §4.4.1). */
  foldClientHello(suite: CipherSuite): void {
    this.start(suite);
    const body = this.digest();
    this.#messages = [{ type: handshakeType.messageHash, sequence: 0, body }];
    this.start(suite);
  }

  /** The hash of all messages so far. */
  digest(): Buffer {
    if (!this.#hash) throw new TypeError('the transcript has no hash yet');
    return this.#hash.copy().digest();
  }

  /** All messages so far; what a DTLS 1.2 CertificateVerify signs. */
  content(): Buffer {
    return Buffer.concat(this.#messages.map((message) => framed(message, true)));
  }

  /** Drops the messages, which nothing needs once they are hashed and verified. */
  forgetContent(): void {
    this.#messages = [];
  }
}

function framed(message: HandshakeMessage, withDtlsHeader: boolean): Buffer {
  const { type, body } = message;
  if (!withDtlsHeader) return Buffer.concat([u8(type), vector24(body)]);
  const header = Buffer.alloc(FRAGMENT_HEADER_BYTES);
  writeFragmentHeader(header, message, 0, body.length);
  return Buffer.concat([header, body]);
}
