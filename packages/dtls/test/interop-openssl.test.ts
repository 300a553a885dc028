import { describe, expect, test } from 'vitest';
import { type CoreOptions, identityOf } from './two-cores.ts';
import { freePort, hasProgram, Peer, PemFiles, UdpCore } from './udp-core.ts';

interface Case {
  readonly cipher: 'AES_128_GCM' | 'AES_256_GCM' | 'CHACHA20_POLY1305';
  readonly group: 'X25519' | 'P-256';
  readonly keyType: 'ecdsa-p256' | 'ed25519';
  /** Default as the peer's. */
  readonly ourKeyType?: 'ecdsa-p256' | 'ed25519';
  readonly extra?: readonly string[];
}

const SUITES = {
  AES_128_GCM: 'ECDHE-ECDSA-AES128-GCM-SHA256',
  AES_256_GCM: 'ECDHE-ECDSA-AES256-GCM-SHA384',
  CHACHA20_POLY1305: 'ECDHE-ECDSA-CHACHA20-POLY1305',
};

const cases: readonly Case[] = [
  { cipher: 'AES_128_GCM', group: 'X25519', keyType: 'ecdsa-p256' },
  { cipher: 'AES_256_GCM', group: 'P-256', keyType: 'ecdsa-p256' },
  { cipher: 'CHACHA20_POLY1305', group: 'X25519', keyType: 'ed25519' },
  { cipher: 'AES_128_GCM', group: 'P-256', keyType: 'ed25519' },
];

/** OpenSSL has no Ed25519 certificate as a server of DTLS 1.2: ssl_set_masks asks for TLS 1.2 by number. */
const serverCases: readonly Case[] = cases.map((one) => ({ ...one, keyType: 'ecdsa-p256', ourKeyType: one.keyType }));

const LABEL = 'EXTRACTOR-claw_interop';
const EXPORT_BYTES = 60;

function argsOf({ cipher, group, extra = [] }: Case, files: PemFiles): string[] {
  const key = ['-cert', files.certificate, '-key', files.key];
  const tls = ['-dtls1_2', '-cipher', SUITES[cipher], '-curves', group === 'X25519' ? 'X25519:P-256' : group];
  const schemes = ['-sigalgs', 'ed25519:ECDSA+SHA256'];
  const exporter = ['-keymatexport', LABEL, '-keymatexportlen', String(EXPORT_BYTES)];
  return [...tls, ...key, ...schemes, ...exporter, '-use_srtp', 'SRTP_AEAD_AES_128_GCM', ...extra];
}

function optionsOf(
  side: 'client' | 'server',
  peer: string,
  { keyType, ourKeyType }: Case,
): CoreOptions & { identity: ReturnType<typeof identityOf> } {
  return {
    identity: identityOf(side, ourKeyType ?? keyType),
    remoteFingerprints: [identityOf(peer, keyType).fingerprint],
    srtpProfiles: ['SRTP_AEAD_AES_128_GCM'],
  };
}

async function expectExchange(udp: UdpCore, peer: Peer, one: Case): Promise<void> {
  const { connection } = udp.core;
  await udp.until(({ state }) => state === 'connected');
  expect(connection.negotiated).toMatchObject({
    version: '1.2',
    cipher: one.cipher,
    group: one.group,
    srtpProfile: 'SRTP_AEAD_AES_128_GCM',
  });
  const [, material] = await peer.says(/Keying material: ([0-9A-F]+)/);
  expect(connection.exportKeyingMaterial(LABEL, EXPORT_BYTES).toString('hex').toUpperCase()).toBe(material);
  udp.send('ping of ours\n');
  await peer.says(/ping of ours/);
  peer.write('ping of theirs\n');
  await udp.until(({ received }) => received.some((bytes) => bytes.includes('ping of theirs')));
  udp.close();
}

describe.skipIf(!hasProgram('openssl', 'version'))('OpenSSL', () => {
  test.for<Case>([...serverCases, { ...(serverCases[0] as Case), extra: ['-listen'] }])(
    'as server: $cipher, $group, our certificate $ourKeyType, $extra',
    async (one) => {
      using files = new PemFiles(identityOf('openssl', one.keyType));
      const port = await freePort();
      using peer = new Peer('openssl', [
        's_server',
        '-accept',
        `127.0.0.1:${port}`,
        '-Verify',
        '1',
        ...argsOf(one, files),
      ]);
      await peer.says(/ACCEPT/);
      using udp = await UdpCore.open('client', optionsOf('client', 'openssl', one));
      udp.start(port);
      await expectExchange(udp, peer, one);
    },
  );

  test.for<Case & { cookie?: boolean }>([...cases, { ...(cases[0] as Case), cookie: true }])(
    'as client: $cipher, $group, $keyType, cookie $cookie',
    async (one) => {
      using files = new PemFiles(identityOf('openssl', one.keyType));
      using udp = await UdpCore.open('server', {
        ...optionsOf('server', 'openssl', one),
        cookie: one.cookie ?? false,
        addressProven: !one.cookie,
      });
      udp.start();
      using peer = new Peer('openssl', ['s_client', '-connect', `127.0.0.1:${udp.port}`, ...argsOf(one, files)]);
      await expectExchange(udp, peer, one);
    },
  );

  test('as client gets no byte of application data when its certificate is not the announced one', async () => {
    using files = new PemFiles(identityOf('somebody else'));
    using udp = await UdpCore.open('server', {
      ...optionsOf('server', 'openssl', cases[0] as Case),
      addressProven: true,
    });
    udp.start();
    using peer = new Peer('openssl', [
      's_client',
      '-connect',
      `127.0.0.1:${udp.port}`,
      ...argsOf(cases[0] as Case, files),
    ]);
    await expect(udp.until(({ state }) => state === 'connected')).rejects.toMatchObject({
      code: 'DTLS_FINGERPRINT_MISMATCH',
    });
    await peer.says(/alert bad certificate/);
    expect(udp.core.wasConnected).toBe(false);
  });
});
