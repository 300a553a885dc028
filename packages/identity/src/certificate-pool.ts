/**
 * A few ephemeral leaf certificates made ahead of time, each for one handshake,
 * so that connecting never waits for a key pair or for the key holder.
 */

import { generateKeyPair, type KeyObject } from 'node:crypto';
import { createSecureContext, type SecureContext } from 'node:tls';
import { promisify } from 'node:util';
import { type Clock, errorText, type Logger, silentLogger, sleep, systemClock, TaskScope } from '@claw/base';
import type { KeyHolder } from '@claw/contracts';
import { pemOf } from './leaf-certificate.ts';
import { rawPublicKey } from './signature.ts';

export interface CertificatePoolOptions {
  readonly keyHolder: KeyHolder;
  /** Leaves kept ready. Default 2. */
  readonly size?: number;
  /** Life of a leaf. Default 10 minutes, at most 15. */
  readonly lifetimeMs?: number;
  readonly clock?: Clock;
  readonly logger?: Logger;
}

interface PooledContext {
  readonly context: SecureContext;
  readonly freshUntilMs: number;
}

const generate = promisify(generateKeyPair);
/** Post-quantum hybrid first (draft-ietf-tls-ecdhe-mlkem), plain X25519 for a platform without it. */
const KEY_EXCHANGE = 'X25519MLKEM768:X25519';
/** A leaf is handed out only while this much of its life is left. */
const MIN_LEFT_MS = 120_000;
/** After a leaf was taken: until then the handshake that it is for needs the key holder and this thread. */
const REFILL_AFTER_MS = 50;

export class CertificatePool implements AsyncDisposable {
  readonly #options: Required<Omit<CertificatePoolOptions, 'logger'>>;
  readonly #logger: Logger;
  readonly #ready: PooledContext[] = [];
  readonly #scope: TaskScope;
  #filling = false;

  constructor(options: CertificatePoolOptions) {
    this.#options = { size: 2, lifetimeMs: 10 * 60_000, clock: systemClock, ...options };
    this.#logger = options.logger ?? silentLogger;
    this.#scope = new TaskScope({
      clock: this.#options.clock,
      onError: (error) => this.#logger.warn('certificate-pool.fill-failed', { detail: errorText(error) }),
    });
    this.#fill(0);
  }

  /** A TLS 1.3 context over a leaf that nobody used before. */
  async take(): Promise<SecureContext> {
    const now = this.#options.clock.now();
    while (this.#ready.length > 0) {
      const pooled = this.#ready.shift() as PooledContext;
      if (pooled.freshUntilMs > now) {
        this.#fill(REFILL_AFTER_MS);
        return pooled.context;
      }
    }
    this.#fill(REFILL_AFTER_MS);
    return (await this.#make()).context;
  }

  async close(): Promise<void> {
    await this.#scope.close();
    this.#ready.length = 0;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #fill(delayMs: number): void {
    if (this.#filling || this.#scope.closed) return;
    this.#filling = true;
    this.#scope.run('fill', async (signal) => {
      try {
        if (delayMs > 0) await sleep(this.#options.clock, delayMs, signal);
        while (this.#ready.length < this.#options.size && !signal.aborted) this.#ready.push(await this.#make());
      } finally {
        this.#filling = false;
      }
    });
  }

  async #make(): Promise<PooledContext> {
    const { keyHolder, lifetimeMs, clock } = this.#options;
    const { publicKey, privateKey } = await generate('ed25519');
    const leaf = await keyHolder.issueLeaf(rawPublicKey(publicKey), lifetimeMs);
    return { context: secureContext(privateKey, leaf), freshUntilMs: clock.now() + lifetimeMs - MIN_LEFT_MS };
  }
}

function secureContext(privateKey: KeyObject, leaf: Uint8Array): SecureContext {
  return createSecureContext({
    key: privateKey.export({ format: 'pem', type: 'pkcs8' }),
    cert: pemOf(leaf),
    minVersion: 'TLSv1.3',
    ecdhCurve: KEY_EXCHANGE,
    ca: [], // nothing but the paired node key is trusted; the link checks the leaf itself
  });
}
