import { describe, expect, test } from 'vitest';
import { createShare, hasMlKem } from '../src/index.ts';
import { type CoreOptions, identityOf, TwoCores } from './two-cores.ts';

const versions = [['1.2'], ['1.3']] as const;

function exchange(pair: TwoCores): void {
  pair.client.connection.sendApplicationData(Buffer.from('from the client'));
  pair.server.connection.sendApplicationData(Buffer.from('from the server'));
  pair.run(pair.nowMs + 1000);
  expect(pair.server.received.map(String)).toEqual(['from the client']);
  expect(pair.client.received.map(String)).toEqual(['from the server']);
}

describe.each(versions)('DTLS %s', (version) => {
  const both: CoreOptions = { versions: [version] };

  test.each(['AES_128_GCM', 'AES_256_GCM', 'CHACHA20_POLY1305'] as const)('connects with %s', (cipher) => {
    const pair = new TwoCores({ ...both, ciphers: [cipher] }).connect();
    expect(pair.client.connection.negotiated).toMatchObject({ version, cipher, group: 'X25519' });
    exchange(pair);
  });

  test('connects over P-256', () => {
    const pair = new TwoCores({ ...both, groups: ['P-256'] }).connect();
    expect(pair.server.connection.negotiated).toMatchObject({ group: 'P-256' });
    exchange(pair);
  });

  test('connects with an Ed25519 certificate at either end, or both', () => {
    const [c, s] = [identityOf('client', 'ed25519'), identityOf('server', 'ed25519')];
    const client: CoreOptions = { identity: c };
    const server: CoreOptions = { identity: s };
    const seesServer: CoreOptions = { remoteFingerprints: [s.fingerprint] };
    const seesClient: CoreOptions = { remoteFingerprints: [c.fingerprint] };
    const pair = new TwoCores(both, {}, { ...client, ...seesServer }, { ...server, ...seesClient }).connect();
    expect(pair.client.connection.negotiated).toMatchObject({ localScheme: 'ed25519', peerScheme: 'ed25519' });
    const mixed = new TwoCores(both, {}, client, seesClient).connect();
    expect(mixed.client.connection.negotiated).toMatchObject({
      localScheme: 'ed25519',
      peerScheme: 'ecdsa_secp256r1_sha256',
    });
    exchange(mixed);
  });

  test('connects behind a cookie', () => {
    exchange(new TwoCores(both, {}, {}, { cookie: true }).connect());
  });

  test('connects with datagrams so small that every message is in fragments', () => {
    exchange(new TwoCores({ ...both, mtuBytes: 256 }).connect());
  });

  test('exports the same keys at both ends, others for another label or context', () => {
    const { client, server } = new TwoCores(both).connect();
    const keys = (label: string, context?: Buffer) => {
      const mine = client.connection.exportKeyingMaterial(label, 60, context);
      expect(server.connection.exportKeyingMaterial(label, 60, context)).toEqual(mine);
      return mine.toString('hex');
    };
    expect(new Set([keys('one'), keys('two'), keys('one', Buffer.from('context'))]).size).toBe(3);
  });

  test('agrees on an SRTP profile that both have, in the order of the server', () => {
    const pair = new TwoCores(
      both,
      {},
      { srtpProfiles: ['SRTP_AES128_CM_HMAC_SHA1_80', 'SRTP_AEAD_AES_128_GCM'] },
      { srtpProfiles: ['SRTP_AEAD_AES_256_GCM', 'SRTP_AEAD_AES_128_GCM', 'SRTP_AES128_CM_HMAC_SHA1_80'] },
    ).connect();
    expect(pair.client.connection.negotiated?.srtpProfile).toBe('SRTP_AEAD_AES_128_GCM');
    expect(pair.server.connection.negotiated?.srtpProfile).toBe('SRTP_AEAD_AES_128_GCM');
  });

  test('closing tells the peer', () => {
    const pair = new TwoCores(both).connect();
    pair.client.connection.close();
    pair.run(pair.nowMs + 1000);
    expect([pair.client.state, pair.server.state]).toEqual(['closed', 'closed']);
    expect(pair.server.events.at(-1)).toEqual({ type: 'closed' });
    expect(() => pair.server.connection.sendApplicationData(Buffer.alloc(1))).toThrow(
      expect.objectContaining({ code: 'DTLS_NOT_CONNECTED' }),
    );
  });

  test('waits for the fingerprints, and goes on when they come', () => {
    for (const waiting of ['client', 'server'] as const) {
      const late: CoreOptions = { remoteFingerprints: undefined as never };
      const pair = new TwoCores(both, {}, waiting === 'client' ? late : {}, waiting === 'server' ? late : {});
      pair.start().run(5000);
      expect(pair.core(waiting).wasConnected).toBe(false);
      const peer = waiting === 'client' ? 'server' : 'client';
      if (pair.core(peer).state === 'connected') pair.core(peer).connection.sendApplicationData(Buffer.from('early'));
      pair.run(6000);
      expect(pair.core(waiting).received).toEqual([]);
      pair.core(waiting).connection.setRemoteFingerprints([identityOf(peer).fingerprint], 6000);
      pair.run(20_000);
      expect(pair.bothConnected).toBe(true);
    }
  });
});

test('a handshake takes one round trip of 1.3, two of 1.2, and no timeout: no flight is held back', () => {
  const times = (version: '1.2' | '1.3') => {
    const pair = new TwoCores({ versions: [version], srtpProfiles: ['SRTP_AEAD_AES_128_GCM'] }).start();
    const timeOf = (role: 'client' | 'server') => pair.run(Infinity, () => pair.core(role).wasConnected).nowMs;
    return version === '1.3' ? [timeOf('client'), timeOf('server')] : [timeOf('server'), timeOf('client')];
  };
  expect(times('1.3')).toEqual([20, 30]);
  expect(times('1.2')).toEqual([30, 40]);
});

test('the newer of two versions is chosen, and the one that both have', () => {
  const version = (client: CoreOptions, server: CoreOptions) =>
    new TwoCores({}, {}, client, server).connect().client.connection.negotiated?.version;
  expect(version({}, {})).toBe('1.3');
  expect(version({ versions: ['1.2'] }, {})).toBe('1.2');
  expect(version({}, { versions: ['1.2'] })).toBe('1.2');
  expect(version({}, { versions: ['1.2'], cookie: true })).toBe('1.2');
  expect(version({ versions: ['1.3'] }, {})).toBe('1.3');
  expect(version({}, { versions: ['1.3'] })).toBe('1.3');
});

test('a server asks for a group that the client named without a share', () => {
  const pair = new TwoCores(
    { versions: ['1.3'] },
    {},
    { groups: ['X25519', 'P-256'] },
    { groups: ['P-256'] },
  ).connect();
  expect(pair.client.connection.negotiated?.group).toBe('P-256');
});

test.runIf(hasMlKem)('X25519MLKEM768 is used when one side prefers it', () => {
  const group = (client: CoreOptions, server: CoreOptions) =>
    new TwoCores({ versions: ['1.3'] }, {}, client, server).connect().server.connection.negotiated?.group;
  expect(group({}, {})).toBe('X25519');
  expect(group({ postQuantum: 'prefer' }, { postQuantum: 'prefer' })).toBe('X25519MLKEM768');
  expect(group({}, { postQuantum: 'prefer' })).toBe('X25519MLKEM768');
  expect(group({ postQuantum: 'prefer' }, { postQuantum: 'off' })).toBe('X25519');
});

test('a ClientHello is one datagram unless post-quantum is preferred', () => {
  expect(new TwoCores().start().sent).toHaveLength(1);
  if (hasMlKem) expect(new TwoCores({ postQuantum: 'prefer' }).start().sent).toHaveLength(2);
});

test('both sides use the key share that they are given, and have dropped its key when they are connected', () => {
  const [client, server] = [createShare('X25519'), createShare('X25519')];
  const pair = new TwoCores({}, {}, { keyShare: client }, { keyShare: server }).connect();
  const sentBy = (role: string) =>
    Buffer.concat(pair.sent.filter((one) => one.sender === role).map((one) => one.datagram));
  expect(sentBy('client').includes(client.publicBytes)).toBe(true);
  expect(sentBy('server').includes(server.publicBytes)).toBe(true);
  for (const share of [client, server]) expect(() => share.agree(client.publicBytes)).toThrow(TypeError);
  exchange(pair);
});

test.each([['1.2'], ['1.3']] as const)('a key share that DTLS %s had no use for is dropped too', (version) => {
  const shares = [createShare('X25519'), createShare('X25519')] as const;
  const own: CoreOptions = { versions: [version], groups: ['P-256'] };
  new TwoCores(own, {}, { keyShare: shares[0] }, { keyShare: shares[1] }).connect();
  for (const share of shares) expect(() => share.agree(share.publicBytes)).toThrow(TypeError);
});

test('what is encrypted of a flight is one record, and the flight is handed over as a whole', () => {
  const flights: { readonly from: 'client' | 'server'; readonly datagrams: readonly Buffer[] }[] = [];
  const keep = (from: 'client' | 'server'): CoreOptions => ({
    sendFlight: (datagrams) => void flights.push({ from, datagrams }),
  });
  const pair = new TwoCores({ versions: ['1.3'] }, {}, keep('client'), keep('server')).start();
  for (const { from, datagrams } of flights) {
    const { connection } = from === 'client' ? pair.server : pair.client;
    for (const each of datagrams) connection.receive(Buffer.from(each), 0);
  }
  expect(pair.bothConnected).toBe(true);
  const records = flights.map(({ from, datagrams }) => [from, ...datagrams.map(recordsOf)]);
  expect(records).toEqual([
    ['client', 1],
    ['server', 2], // ServerHello is in the clear
    ['client', 1],
  ]);
});

function recordsOf(datagram: Buffer): number {
  let records = 0;
  for (let at = 0; at < datagram.length; records += 1) {
    const isPlain = ((datagram[at] as number) & 0xe0) !== 0x20;
    at += isPlain ? 13 + datagram.readUInt16BE(at + 11) : 5 + datagram.readUInt16BE(at + 3);
  }
  return records;
}
