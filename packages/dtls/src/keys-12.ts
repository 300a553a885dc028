/** The keys of a DTLS 1.2 connection, from the shared secret (RFC 5246 §6.3, RFC 7627 §4). */

import type { CipherSuite } from './cipher-suites.ts';
import { RANDOM_BYTES } from './hello.ts';
import { extendedMasterSecret, keyBlock } from './prf.ts';
import { Opener12, Sealer12 } from './record-protection-12.ts';
import type { Role } from './registry.ts';

export interface Keys12 {
  readonly suite: CipherSuite;
  readonly masterSecret: Buffer;
  readonly sealer: Sealer12;
  readonly opener: Opener12;
}

/** Wipes `sharedSecret`. `randoms` are the client's, then the server's. */
export function deriveKeys12(
  role: Role,
  suite: CipherSuite,
  sharedSecret: Buffer,
  sessionHash: Uint8Array,
  randoms: Buffer,
): Keys12 {
  const masterSecret = extendedMasterSecret(suite.hash, sharedSecret, sessionHash);
  sharedSecret.fill(0);
  const [clientRandom, serverRandom] = [randoms.subarray(0, RANDOM_BYTES), randoms.subarray(RANDOM_BYTES)];
  const block = keyBlock(suite, masterSecret, clientRandom, serverRandom);
  const client = [block.clientKey, block.clientIv] as const;
  const server = [block.serverKey, block.serverIv] as const;
  const [ours, theirs] = role === 'client' ? [client, server] : [server, client];
  const keys = {
    suite,
    masterSecret,
    sealer: new Sealer12(suite, ...ours, 1),
    opener: new Opener12(suite, ...theirs),
  };
  block.wipe();
  return keys;
}
