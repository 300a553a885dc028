import { describe, expect, test } from 'vitest';
import type { CipherName } from '../src/index.ts';
import { type CoreOptions, identityOf } from './two-cores.ts';
import { freePort, hasProgram, Peer, PemFiles, UdpCore } from './udp-core.ts';

interface Case {
  readonly cipher: CipherName;
  readonly group: 'X25519' | 'P-256';
  readonly keyType: 'ecdsa-p256' | 'ed25519';
}

const CIPHERS: Record<CipherName, string> = {
  AES_128_GCM: 'AES-128-GCM',
  AES_256_GCM: 'AES-256-GCM',
  CHACHA20_POLY1305: 'CHACHA20-POLY1305',
};

const cases: readonly Case[] = [
  { cipher: 'AES_128_GCM', group: 'X25519', keyType: 'ecdsa-p256' },
  { cipher: 'AES_256_GCM', group: 'P-256', keyType: 'ecdsa-p256' },
  { cipher: 'CHACHA20_POLY1305', group: 'X25519', keyType: 'ed25519' },
];

function priorityOf({ cipher, group }: Case): string {
  const groups = group === 'X25519' ? '+GROUP-X25519' : '+GROUP-SECP256R1';
  return `NORMAL:-VERS-ALL:+VERS-DTLS1.2:-CIPHER-ALL:+${CIPHERS[cipher]}:-GROUP-ALL:${groups}:-KX-ALL:+ECDHE-ECDSA`;
}

function optionsOf({ keyType }: Case) {
  return {
    identity: identityOf('ours', keyType),
    remoteFingerprints: [identityOf('gnutls', keyType).fingerprint],
  } as const satisfies CoreOptions;
}

describe.skipIf(!hasProgram('gnutls-cli', '--version'))('GnuTLS', () => {
  test.for(cases)('as server, with its cookie: $cipher, $group, $keyType', async (one) => {
    using files = new PemFiles(identityOf('gnutls', one.keyType));
    const port = await freePort();
    const certificate = ['--x509certfile', files.certificate, '--x509keyfile', files.key];
    const server = ['--udp', '--echo', '--require-client-cert', '--port', String(port)];
    using peer = new Peer('gnutls-serv', [...server, ...certificate, '--priority', priorityOf(one)]);
    await peer.says(/ready|listening/i);
    using udp = await UdpCore.open('client', optionsOf(one));
    udp.start(port);
    await udp.until(({ state }) => state === 'connected');
    expect(udp.core.connection.negotiated).toMatchObject({ version: '1.2', cipher: one.cipher, group: one.group });
    udp.send('echo this\n');
    await udp.until(({ received }) => received.some((bytes) => bytes.includes('echo this')));
    udp.close();
  });

  test.for([...cases, { ...(cases[0] as Case), cookie: true }])(
    'as client: $cipher, $group, $keyType',
    async (one: Case & { readonly cookie?: boolean }) => {
      using files = new PemFiles(identityOf('gnutls', one.keyType));
      using udp = await UdpCore.open('server', {
        ...optionsOf(one),
        cookie: one.cookie ?? false,
        addressProven: !one.cookie,
      });
      udp.start();
      const certificate = ['--x509certfile', files.certificate, '--x509keyfile', files.key];
      const client = ['--udp', '--insecure', '--port', String(udp.port), '127.0.0.1'];
      using peer = new Peer('gnutls-cli', [...client, ...certificate, '--priority', priorityOf(one)]);
      await udp.until(({ state }) => state === 'connected');
      expect(udp.core.connection.negotiated).toMatchObject({ version: '1.2', cipher: one.cipher, group: one.group });
      peer.write('line of gnutls\n');
      await udp.until(({ received }) => received.some((bytes) => bytes.includes('line of gnutls')));
      udp.send('line of ours\n');
      await peer.says(/line of ours/);
      udp.close();
    },
  );
});
