/** What is left of a finished handshake: the facts, the exporter, and in 1.3 the secrets that updates start from. */

import type { CipherSuite } from './cipher-suites.ts';
import { exportKeys, type TrafficSecrets } from './key-schedule.ts';
import type { NegotiatedFacts } from './options.ts';
import { exportKeys12 } from './prf.ts';

export interface Session {
  readonly facts: NegotiatedFacts;
  readonly suite: CipherSuite;
  /** Of 1.3. */
  readonly traffic: TrafficSecrets | undefined;
  exportKeys(label: string, length: number, context: Uint8Array | undefined): Buffer;
  /** Clears the secrets. */
  wipe(): void;
}

/** Owns `secrets` from then on. */
export function session13(
  facts: NegotiatedFacts,
  suite: CipherSuite,
  secrets: TrafficSecrets & { readonly exporter: Buffer },
): Session {
  return {
    facts,
    suite,
    traffic: secrets,
    exportKeys: (label, length, context) =>
      exportKeys(suite.hash, secrets.exporter, label, context ?? Buffer.alloc(0), length),
    wipe() {
      for (const secret of [secrets.client, secrets.server, secrets.exporter]) secret.fill(0);
    },
  };
}

/** Owns `masterSecret` from then on. `randoms` are the client's, then the server's. */
export function session12(
  facts: NegotiatedFacts,
  suite: CipherSuite,
  masterSecret: Buffer,
  randoms: Uint8Array,
): Session {
  return {
    facts,
    suite,
    traffic: undefined,
    exportKeys: (label, length, context) => exportKeys12(suite.hash, masterSecret, randoms, label, context, length),
    wipe: () => void masterSecret.fill(0),
  };
}
