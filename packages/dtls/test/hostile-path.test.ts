/** Somebody on the path, without keys: drops, repeats, alters, forges, floods. */

import { fuzzRuns, seededRandom } from '@claw/testkit';
import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Handshake } from '../src/handshake.ts';
import { DtlsConnection, type Role } from '../src/index.ts';
import { Reassembler } from '../src/reassembly.ts';
import { handshakeType } from '../src/registry.ts';
import { type CoreOptions, identityOf, TwoCores } from './two-cores.ts';

const coded = expect.stringMatching(/^DTLS_/);

afterEach(() => void vi.restoreAllMocks());

/** Messages of `sender` with that type never arrive. */
function loseMessages(sender: Role, lost: number): void {
  const original = Reassembler.prototype.add;
  const servers = new Set<Reassembler>();
  vi.spyOn(Reassembler.prototype, 'add').mockImplementation(function (this: Reassembler, fragment, epoch) {
    if (fragment.type === handshakeType.clientHello) servers.add(this);
    const isLost = fragment.type === lost && servers.has(this) === (sender === 'client');
    return isLost ? 'dropped' : original.call(this, fragment, epoch);
  });
}

const { clientHello, serverHello, helloVerifyRequest, encryptedExtensions, certificate } = handshakeType;
const { serverKeyExchange, certificateRequest, serverHelloDone, certificateVerify } = handshakeType;
const { clientKeyExchange, finished } = handshakeType;
const flights = {
  '1.2': {
    client: [clientHello, certificate, clientKeyExchange, certificateVerify, finished],
    server: [
      helloVerifyRequest,
      serverHello,
      certificate,
      serverKeyExchange,
      certificateRequest,
      serverHelloDone,
      finished,
    ],
  },
  '1.3': {
    client: [clientHello, certificate, certificateVerify, finished],
    server: [serverHello, encryptedExtensions, certificateRequest, certificate, certificateVerify, finished],
  },
};

/** A datagram with a ClientHello in which an extension has a number that nobody knows. */
function hideExtension(datagram: Buffer, type: number): Buffer {
  const helloStart = 13 + 12;
  if (datagram[0] !== 22 || datagram[13] !== handshakeType.clientHello) return datagram;
  let at = helloStart + 2 + 32;
  at += 1 + datagram.readUInt8(at); // session id
  at += 1 + datagram.readUInt8(at); // cookie
  at += 2 + datagram.readUInt16BE(at); // cipher suites
  at += 1 + datagram.readUInt8(at) + 2; // compression, and the length of the extensions
  for (; at < datagram.length; at += 4 + datagram.readUInt16BE(at + 2)) {
    if (datagram.readUInt16BE(at) === type) datagram.writeUInt16BE(0x7a7a, at);
  }
  return datagram;
}

describe.each(['1.2', '1.3'] as const)('DTLS %s', (version) => {
  const both: CoreOptions = { versions: [version] };

  test.each(['client', 'server'] as const)(
    'without any one message of the %s the other reports it in time',
    (sender) => {
      for (const type of flights[version][sender]) {
        loseMessages(sender, type);
        const server = { cookie: type === helloVerifyRequest };
        const pair = new TwoCores({ ...both, handshakeTimeoutMs: 5000 }, {}, {}, server).start().run();
        const receiver = pair.core(sender === 'client' ? 'server' : 'client');
        expect(receiver.wasConnected).toBe(false);
        expect(receiver.error?.code).toEqual(coded);
        expect(pair.nowMs).toBeLessThanOrEqual(12_000);
        vi.restoreAllMocks();
      }
    },
  );

  test('every datagram twice, or all in another order, connects', () => {
    new TwoCores(both, { duplication: 1 }).connect();
    for (let seed = 0; seed < 20; seed++) {
      new TwoCores({ ...both, mtuBytes: 256 }, { seed, duplication: 0.5, delayMs: [1, 90] }).connect();
    }
  });

  test('any altered byte never connects two sides that saw different things (fuzz)', () => {
    fc.assert(
      fc.property(
        fc.nat(5),
        fc.nat(2 ** 16),
        fc.integer({ min: 1, max: 255 }),
        fc.boolean(),
        fc.boolean(),
        (nth, at, flip, always, cookie) => {
          const seen = new Map<number, number>();
          const tamper = (datagram: Buffer, _sender: Role, index: number) => {
            if (always ? index % 6 === nth : index === nth) {
              const place = at % datagram.length;
              datagram[place] = (datagram[place] as number) ^ flip;
              seen.set(index, place);
            }
            return [datagram];
          };
          const pair = new TwoCores({ ...both, handshakeTimeoutMs: 5000 }, { tamper }, {}, { cookie })
            .start()
            .run(20_000);
          for (const core of [pair.client, pair.server]) if (core.error) expect(core.error.code).toEqual(coded);
          if (!pair.bothConnected) return;
          expect(pair.client.connection.exportKeyingMaterial('l', 16)).toEqual(
            pair.server.connection.exportKeyingMaterial('l', 16),
          );
        },
      ),
      { numRuns: Math.ceil(fuzzRuns / 8) },
    );
  });

  test('replayed application data arrives once', () => {
    const pair = new TwoCores(both).connect();
    for (let i = 0; i < 50; i++) pair.client.connection.sendApplicationData(Buffer.from([i]));
    pair.run(pair.nowMs + 100);
    const datagrams = pair.sent.filter(({ sender }) => sender === 'client').map(({ datagram }) => datagram);
    for (const datagram of datagrams) pair.server.connection.receive(datagram, pair.nowMs);
    expect(pair.server.received).toHaveLength(50);
    expect(pair.server.state).toBe('connected');
  });

  test('forged and altered records are dropped in silence, up to the limit of the key (fuzz)', () => {
    const pair = new TwoCores(both).connect();
    pair.client.connection.sendApplicationData(Buffer.from('genuine'));
    const record = pair.sent.at(-1)?.datagram as Buffer;
    const before = pair.sent.length;
    fc.assert(
      fc.property(fc.nat(record.length - 1), fc.integer({ min: 1, max: 255 }), fc.uint8Array(), (at, flip, noise) => {
        const altered = Buffer.from(record);
        altered[at] = (altered[at] as number) ^ flip;
        pair.server.connection.receive(altered, pair.nowMs);
        pair.server.connection.receive(noise, pair.nowMs);
        pair.server.connection.receive(Buffer.concat([record.subarray(0, 1), noise]), pair.nowMs);
      }),
      { numRuns: fuzzRuns },
    );
    expect(pair.sent.length).toBe(before);
    pair.run(pair.nowMs + 100);
    expect(pair.server.received.map(String)).toEqual(['genuine']);
  });

  test('too many forged records end the connection', () => {
    const pair = new TwoCores({ ...both, keyLimits: { failedOpens: 10 } }).connect();
    pair.client.connection.sendApplicationData(Buffer.from('genuine'));
    const forged = Buffer.from(pair.sent.at(-1)?.datagram as Buffer);
    forged[forged.length - 1] = (forged.at(-1) as number) ^ 1;
    for (let i = 0; i < 11; i++) pair.server.connection.receive(forged, pair.nowMs);
    expect(pair.server.error).toMatchObject({ code: 'DTLS_KEY_EXHAUSTED' });
  });

  test('an alert in the clear ends nothing that goes on', () => {
    const alert = Buffer.from('15fefd000000000000ffff00020228', 'hex');
    const pair = new TwoCores(both, { tamper: (datagram) => [alert, datagram, alert] }).connect();
    for (const core of [pair.client, pair.server]) core.connection.receive(alert, pair.nowMs);
    pair.run(pair.nowMs + 10_000);
    expect(pair.bothConnected).toBe(true);
  });

  test('an alert in the clear counts when nothing else comes', () => {
    const pair = new TwoCores({ versions: [version] }, {}, { ciphers: ['AES_128_GCM'] }, { ciphers: ['AES_256_GCM'] });
    pair.start().run();
    expect(pair.server.error).toMatchObject({ code: 'DTLS_NEGOTIATION_FAILED' });
    expect(pair.client.error).toMatchObject({
      code: 'DTLS_PEER_ALERT',
      message: expect.stringContaining('handshake_failure'),
    });
    expect(pair.nowMs).toBeLessThan(1000);
  });

  test('a server sends no more than three times what it got from an address that is not proven', () => {
    for (const cookie of [false, true]) {
      const tamper = (datagram: Buffer, sender: Role, index: number) =>
        sender === 'server' || index > 0 ? [] : [datagram];
      const pair = new TwoCores(both, { tamper }, {}, { cookie }).start().run();
      const bytesOf = (role: Role) =>
        pair.sent.filter(({ sender }) => sender === role).reduce((sum, { datagram }) => sum + datagram.length, 0);
      expect(bytesOf('server')).toBeGreaterThan(0);
      expect(bytesOf('server')).toBeLessThanOrEqual(3 * (pair.sent[0]?.datagram.length as number));
    }
  });

  test('a short ClientHello holds the server flight back until more comes, and still connects', () => {
    const pair = new TwoCores({ ...both, mtuBytes: 256 }, { delayMs: [20, 20] }).connect();
    expect(pair.bothConnected).toBe(true);
  });
});

test.each(['1.2', '1.3'] as const)('every secret of %s is overwritten in the end, whatever the end is', (version) => {
  const secrets: Buffer[] = [];
  const original = Handshake.prototype.guard;
  vi.spyOn(Handshake.prototype, 'guard').mockImplementation(function (this: Handshake, ...guarded) {
    for (const secret of guarded) if (Buffer.isBuffer(secret)) secrets.push(secret);
    original.apply(this, guarded);
  });
  const closed = new TwoCores({ versions: [version] }).connect();
  expect(secrets.some((secret) => secret.some((byte) => byte !== 0))).toBe(true);
  closed.client.connection.close();
  closed.run(closed.nowMs + 100);
  const stranger = { remoteFingerprints: [identityOf('stranger').fingerprint] };
  new TwoCores({ versions: [version] }, {}, stranger).start().run();
  new TwoCores({ versions: [version] }, {}, {}, stranger).start().run();
  expect(secrets.length).toBeGreaterThan(2);
  for (const secret of secrets) expect(secret.every((byte) => byte === 0)).toBe(true);
});

test('who removes DTLS 1.3 from an offer is found out', () => {
  const tamper = (datagram: Buffer, sender: Role) => [sender === 'client' ? hideExtension(datagram, 43) : datagram];
  const pair = new TwoCores({}, { tamper }).start().run();
  expect(pair.client.error).toMatchObject({ code: 'DTLS_DOWNGRADE' });
  expect(pair.server.wasConnected).toBe(false);
});

test('a hello without extended master secret or with a renegotiation is refused', () => {
  for (const type of [23, 0xff01]) {
    const tamper = (datagram: Buffer, sender: Role) => [sender === 'client' ? hideExtension(datagram, type) : datagram];
    const pair = new TwoCores({ versions: ['1.2'] }, { tamper }).start().run();
    expect(pair.server.error).toMatchObject({ code: 'DTLS_NEGOTIATION_FAILED' });
  }
});

test('keys that have sealed much are renewed in 1.3 and end 1.2', () => {
  const keyLimits = { sealedBlocks: 2000 };
  const newer = new TwoCores({ versions: ['1.3'], keyLimits }).connect();
  for (let i = 0; i < 300; i++) {
    newer.client.connection.sendApplicationData(Buffer.alloc(1000));
    newer.run(newer.nowMs + 50);
  }
  expect(newer.server.received).toHaveLength(300);
  expect(newer.client.events.filter(({ type }) => type === 'keys-updated').length).toBeGreaterThan(5);
  const older = new TwoCores({ versions: ['1.2'], keyLimits }).connect();
  expect(() => {
    for (let i = 0; i < 300; i++) older.client.connection.sendApplicationData(Buffer.alloc(1000));
  }).toThrow(expect.objectContaining({ code: 'DTLS_KEY_EXHAUSTED' }));
  expect(older.client.state).toBe('failed');
});

test('a server under any flood answers little and holds little (fuzz)', () => {
  const template = new TwoCores().start().sent[0]?.datagram as Buffer;
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(template.length - 1), fc.nat(255), fc.uint8Array()), { maxLength: 8 }),
      (edits) => {
        let sent = 0;
        let received = 0;
        const server = new DtlsConnection({
          role: 'server',
          identity: identityOf('server'),
          remoteFingerprints: [identityOf('client').fingerprint],
          random: seededRandom(1),
          send: (datagram) => {
            sent += datagram.length;
          },
          onEvent: () => {},
          onApplicationData: () => expect.unreachable(),
        });
        server.start(0);
        for (const [at, value, noise] of edits) {
          const datagram = Buffer.from(template);
          datagram[at] = value;
          for (const bytes of [datagram, Buffer.concat([datagram.subarray(0, at), noise]), noise]) {
            received += bytes.length;
            server.receive(bytes, 0);
          }
        }
        expect(sent).toBeLessThanOrEqual(3 * received);
        expect(server.state).not.toBe('connected');
        server.close();
      },
    ),
    { numRuns: Math.ceil(fuzzRuns / 4) },
  );
});
