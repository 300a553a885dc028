/**
 * wolfSSL speaks DTLS 1.3 when it is built so; Debian's library is not, Debian's source is one flag away. WOLFSSL_CFLAGS
 * and WOLFSSL_LIBS say where such a build is; README.md says how to make one.
 */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { CipherName } from '../src/index.ts';
import { type CoreOptions, identityOf } from './two-cores.ts';
import { freePort, Peer, PemFiles, UdpCore } from './udp-core.ts';

const folder = mkdtempSync(join(tmpdir(), 'claw-wolfssl-'));
const program = join(folder, 'peer');
const words = (name: string, otherwise: string) => (process.env[name] ?? otherwise).split(' ').filter(Boolean);
const compiled = spawnSync(
  process.env['CC'] ?? 'cc',
  [
    ...words('WOLFSSL_CFLAGS', ''),
    join(import.meta.dirname, 'peers', 'wolfssl-peer.c'),
    '-o',
    program,
    ...words('WOLFSSL_LIBS', '-lwolfssl'),
  ],
  { stdio: 'ignore' },
);

interface Case {
  readonly cipher: CipherName;
  readonly group: 'X25519' | 'P-256';
  readonly keyType: 'ecdsa-p256' | 'ed25519';
  readonly letters: string;
  readonly cookie?: boolean;
  readonly mtuBytes?: number;
}

const SUITES: Record<CipherName, string> = {
  AES_128_GCM: 'TLS13-AES128-GCM-SHA256',
  AES_256_GCM: 'TLS13-AES256-GCM-SHA384',
  CHACHA20_POLY1305: 'TLS13-CHACHA20-POLY1305-SHA256',
};

const cases: readonly Case[] = [
  { cipher: 'AES_128_GCM', group: 'X25519', keyType: 'ecdsa-p256', letters: '-' },
  { cipher: 'AES_256_GCM', group: 'P-256', keyType: 'ecdsa-p256', letters: '-' },
  { cipher: 'CHACHA20_POLY1305', group: 'X25519', keyType: 'ed25519', letters: '-' },
  { cipher: 'AES_128_GCM', group: 'X25519', keyType: 'ecdsa-p256', letters: 'k' },
  { cipher: 'AES_128_GCM', group: 'P-256', keyType: 'ed25519', letters: '-' },
];

function optionsOf(one: Case) {
  return {
    identity: identityOf('ours', one.keyType),
    remoteFingerprints: [identityOf('wolfssl', one.keyType).fingerprint],
    versions: ['1.3', '1.2'],
    mtuBytes: one.mtuBytes ?? 1200,
  } as const satisfies CoreOptions;
}

async function expectFacts(udp: UdpCore, peer: Peer, one: Case): Promise<void> {
  await udp.until(({ state }) => state === 'connected');
  const { connection } = udp.core;
  expect(connection.negotiated).toMatchObject({ version: '1.3', cipher: one.cipher, group: one.group });
  await peer.says(/CONNECTED DTLSv1.3/);
}

describe.skipIf(compiled.status !== 0)('wolfSSL with DTLS 1.3', () => {
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test.for(cases)('as server: $cipher, $group, $keyType, $letters', async (one) => {
    using files = new PemFiles(identityOf('wolfssl', one.keyType));
    const port = await freePort();
    const args = [String(port), files.certificate, files.key, SUITES[one.cipher], one.group, one.letters];
    using peer = new Peer(program, ['server', ...args]);
    await peer.says(/READY/);
    using udp = await UdpCore.open('client', optionsOf(one));
    udp.start(port);
    await expectFacts(udp, peer, one);
    udp.send('hello of ours');
    await udp.until(({ received }) => received.some((bytes) => bytes.includes('HELLO OF OURS')));
    udp.core.connection.updateKeys();
    await udp.until(({ events }) => events.some(({ type }) => type === 'keys-updated'));
    udp.send('hello again');
    await udp.until(({ received }) => received.some((bytes) => bytes.includes('HELLO AGAIN')));
    udp.close();
    await peer.says(/ENDED/);
  });

  test.for([
    ...cases,
    // As server it takes no ClientHello in fragments.
    { ...(cases[0] as Case), mtuBytes: 300 },
    { ...(cases[0] as Case), cookie: true },
    { ...(cases[0] as Case), letters: 'c' },
    { ...(cases[1] as Case), letters: 'c', cookie: true },
  ])('as client: $cipher, $group, $keyType, $letters, cookie $cookie', async (one) => {
    using files = new PemFiles(identityOf('wolfssl', one.keyType));
    using udp = await UdpCore.open('server', {
      ...optionsOf(one),
      groups: [one.group],
      cookie: one.cookie ?? false,
      addressProven: !one.cookie,
    });
    udp.start();
    const args = [String(udp.port), files.certificate, files.key, SUITES[one.cipher], one.group, one.letters];
    using peer = new Peer(program, ['client', ...args]);
    await expectFacts(udp, peer, one);
    await udp.until(({ received }) => received.some((bytes) => bytes.includes('hello of wolfssl')));
    udp.send('hello of ours');
    await peer.says(/GOT hello of ours/);
    udp.close();
    await peer.says(/ENDED/);
  });
});
