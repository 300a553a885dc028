/**
 * Who may speak to the daemon: whoever can read the session's token from the
 * node's home, proven anew by every request without sending the token.
 *
 *   signature = HMAC-SHA256(token, "claw-gateway-v1\n" METHOD "\n" PATH?QUERY "\n"
 *               hex(SHA-256(body)) "\n" TIMESTAMP "\n" NONCE)
 *   proof     = HMAC-SHA256(token, "claw-gateway-v1 response\n" signature)
 *
 * The daemon returns the proof, because a dead daemon's port can be taken by any
 * local user. A refusal names its reason to everyone: each depends only on what
 * the sender already knows (its headers, the hour, that it has no token), and the
 * token has 256 random bits, so no answer brings a guess nearer.
 * Sans-IO: used by the server and by the client.
 */

import { createHash } from 'node:crypto';
import { type ClawError, type Clock, equalBytes, hmac, type Random } from '@claw/base';
import { type AuthErrorCode, apiError } from './errors.ts';

export const TOKEN_BYTES = 32;
export const TIMESTAMP_HEADER = 'x-claw-timestamp';
export const NONCE_HEADER = 'x-claw-nonce';
export const SIGNATURE_HEADER = 'x-claw-signature';
export const PROOF_HEADER = 'x-claw-proof';

export interface SignedRequest {
  /** Upper case. */
  readonly method: string;
  /** Path and query as on the wire. */
  readonly target: string;
  readonly body: Uint8Array;
}

/** A header of an HTTP message as `node:http` gives it. */
export type HeaderReader = (name: string) => string | readonly string[] | undefined;

export interface Credentials {
  readonly timestamp: string;
  readonly nonce: string;
  readonly signature: string;
}

/** The three headers of a request, made now. */
export function signRequest(
  token: Uint8Array,
  request: SignedRequest,
  clock: Clock,
  random: Random,
): Record<string, string> {
  const timestamp = String(clock.now());
  const nonce = random.bytes(16).toString('base64url');
  const signature = signatureOf(token, request, timestamp, nonce).toString('base64url');
  return { [TIMESTAMP_HEADER]: timestamp, [NONCE_HEADER]: nonce, [SIGNATURE_HEADER]: signature };
}

/** What a response to the request with this signature carries. */
export function proofOf(token: Uint8Array, signature: string): string {
  return hmac('sha256', token).update(`claw-gateway-v1 response\n${signature}`).digest('base64url');
}

export function isProof(token: Uint8Array, signature: string, proof: string | undefined): boolean {
  return proof !== undefined && equalBytes(Buffer.from(proof), Buffer.from(proofOf(token, signature)));
}

function signatureOf(token: Uint8Array, request: SignedRequest, timestamp: string, nonce: string): Buffer {
  const bodyHash = createHash('sha256').update(request.body).digest('hex');
  const text = `claw-gateway-v1\n${request.method}\n${request.target}\n${bodyHash}\n${timestamp}\n${nonce}`;
  return hmac('sha256', token).update(text).digest();
}

export interface RequestVerifierOptions {
  /** {@link TOKEN_BYTES} bytes. */
  readonly token: Uint8Array;
  readonly clock: Clock;
  /** The port listened on: what `Host` must name. */
  readonly port: number;
  /** Origins of pages that are our own. Default none: no browser speaks to this API. */
  readonly origins?: readonly string[];
  /** How far from now a timestamp may lie, either way. Default 60,000 ms. */
  readonly windowMs?: number;
  /** Accepted requests remembered within the window; above, more are refused. Default 65,536 (about 8 MB). */
  readonly maxNonces?: number;
}

/** `timestamp.nonce.signature` in their only spelling. */
const TIMESTAMP = /^[1-9]\d{0,15}$/;
const NONCE = /^[A-Za-z0-9_-]{21}[AQgw]$/;
const SIGNATURE = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/;

export class RequestVerifier {
  readonly #token: Uint8Array;
  readonly #clock: Clock;
  readonly #hosts: ReadonlySet<string>;
  readonly #origins: ReadonlySet<string>;
  readonly #windowMs: number;
  readonly #maxNonces: number;
  /** Nonces by the second of their timestamp, so that a second is forgotten at once. */
  readonly #seen = new Map<number, Set<string>>();
  #seenCount = 0;
  /** Seconds before this one have been forgotten; a clock set back does not open them again. */
  #forgottenBefore = 0;

  constructor(options: RequestVerifierOptions) {
    if (options.token.length !== TOKEN_BYTES)
      throw new RangeError(`a session token has ${TOKEN_BYTES} bytes, got ${options.token.length}`);
    this.#token = options.token;
    this.#clock = options.clock;
    this.#hosts = new Set([`127.0.0.1:${options.port}`, `localhost:${options.port}`]);
    this.#origins = new Set(options.origins);
    this.#windowMs = options.windowMs ?? 60_000;
    this.#maxNonces = options.maxNonces ?? 65_536;
  }

  /** Before the body is read. @throws ClawError `AUTH_HOST`, `AUTH_ORIGIN`, `AUTH_MISSING`, `AUTH_MALFORMED` */
  checkHeaders(header: HeaderReader): Credentials {
    const host = header('host');
    if (typeof host !== 'string' || !this.#hosts.has(host)) {
      throw refusal('AUTH_HOST', 'the Host header does not name this daemon');
    }
    const origin = header('origin');
    if (origin !== undefined && (typeof origin !== 'string' || !this.#origins.has(origin))) {
      throw refusal('AUTH_ORIGIN', 'pages of this origin may not speak to the daemon');
    }
    const [timestamp, nonce, signature] = [header(TIMESTAMP_HEADER), header(NONCE_HEADER), header(SIGNATURE_HEADER)];
    if (timestamp === undefined || nonce === undefined || signature === undefined) {
      throw refusal('AUTH_MISSING', `the request lacks ${TIMESTAMP_HEADER}, ${NONCE_HEADER} or ${SIGNATURE_HEADER}`);
    }
    if (!matches(timestamp, TIMESTAMP) || !matches(nonce, NONCE) || !matches(signature, SIGNATURE)) {
      throw refusal(
        'AUTH_MALFORMED',
        `${TIMESTAMP_HEADER}, ${NONCE_HEADER} or ${SIGNATURE_HEADER} is malformed or given twice`,
      );
    }
    return { timestamp, nonce, signature };
  }

  /** @throws ClawError `AUTH_SIGNATURE`: the sender does not know the token, and must not be given a proof. */
  checkSignature(credentials: Credentials, request: SignedRequest): void {
    const expected = signatureOf(this.#token, request, credentials.timestamp, credentials.nonce);
    if (equalBytes(Buffer.from(credentials.signature, 'base64url'), expected)) return;
    throw refusal(
      'AUTH_SIGNATURE',
      'the signature does not fit the request',
      'The daemon may have been restarted since: try again.',
    );
  }

  /**
   * Takes a request whose signature holds, once. Only those are remembered, so strangers cannot fill the memory.
   * @throws ClawError `AUTH_STALE`, `AUTH_REPLAYED`, `AUTH_BUSY`
   */
  admit(credentials: Credentials): void {
    const now = this.#clock.now();
    const timestamp = Number(credentials.timestamp);
    const second = Math.floor(timestamp / 1000);
    this.#forgetBefore(Math.floor((now - this.#windowMs) / 1000));
    if (Math.abs(now - timestamp) > this.#windowMs || second < this.#forgottenBefore) {
      throw refusal(
        'AUTH_STALE',
        `the request was signed too far from ${new Date(now).toISOString()}`,
        'If the clock was set back, restart the daemon.',
      );
    }
    let nonces = this.#seen.get(second);
    if (nonces?.has(credentials.nonce)) throw refusal('AUTH_REPLAYED', 'this request was made before');
    if (this.#seenCount >= this.#maxNonces) throw refusal('AUTH_BUSY', 'too many requests within a minute');
    if (!nonces) this.#seen.set(second, (nonces = new Set()));
    nonces.add(credentials.nonce);
    this.#seenCount += 1;
  }

  #forgetBefore(second: number): void {
    if (second <= this.#forgottenBefore) return;
    this.#forgottenBefore = second;
    for (const [key, nonces] of this.#seen) {
      if (key >= second) continue;
      this.#seenCount -= nonces.size;
      this.#seen.delete(key);
    }
  }
}

function matches(value: string | readonly string[], pattern: RegExp): value is string {
  return typeof value === 'string' && pattern.test(value);
}

function refusal(code: AuthErrorCode, message: string, hint?: string): ClawError {
  return apiError(code, message, hint === undefined ? {} : { hint });
}
