import { fuzzRuns } from '@claw/testkit';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeAck, parseAck } from '../src/acknowledgement.ts';
import { ByteReader } from '../src/byte-reader.ts';
import { certificateKey, createCertificate, fingerprintOf, matchesFingerprint } from '../src/certificate.ts';
import {
  encodeCertificate,
  encodeCertificateRequest,
  parseCertificate,
  parseCertificateRequest,
  readSigned,
} from '../src/certificate-message.ts';
import { createOffer, encodeOffer } from '../src/client-offer.ts';
import * as extensions from '../src/extensions.ts';
import { parseFragments } from '../src/handshake-message.ts';
import * as hello from '../src/hello.ts';
import { resolveOptions } from '../src/options.ts';
import { encodeEcdheParameters, readEcdheParameters } from '../src/server-key-exchange.ts';
import { identityOf } from './two-cores.ts';

const { certificate } = createCertificate();
const options = resolveOptions({
  role: 'client',
  identity: identityOf('client'),
  srtpProfiles: ['SRTP_AEAD_AES_128_GCM'],
  send: () => {},
  onEvent: () => {},
  onApplicationData: () => {},
});

const parsers: Record<string, { parse: (bytes: Buffer) => unknown; sample: Buffer }> = {
  ClientHello: { parse: hello.parseClientHello, sample: encodeOffer(options, createOffer(options)) },
  ServerHello: {
    parse: hello.parseServerHello,
    sample: hello.encodeServerHello({
      random: Buffer.alloc(32),
      sessionId: Buffer.alloc(0),
      cipherSuite: 0x1301,
      extensions: new Map([[43, Buffer.from('fefc', 'hex')]]),
    }),
  },
  HelloVerifyRequest: {
    parse: hello.parseHelloVerifyRequest,
    sample: hello.encodeHelloVerifyRequest(Buffer.alloc(20)),
  },
  'Certificate of 1.2': { parse: (b) => parseCertificate('1.2', b), sample: encodeCertificate('1.2', certificate) },
  'Certificate of 1.3': { parse: (b) => parseCertificate('1.3', b), sample: encodeCertificate('1.3', certificate) },
  'CertificateRequest of 1.2': {
    parse: (b) => parseCertificateRequest('1.2', b),
    sample: encodeCertificateRequest('1.2'),
  },
  'CertificateRequest of 1.3': {
    parse: (b) => parseCertificateRequest('1.3', b),
    sample: encodeCertificateRequest('1.3'),
  },
  signature: { parse: (b) => readSigned(new ByteReader(b)), sample: Buffer.from('04030003aabbcc', 'hex') },
  'X.509': { parse: certificateKey, sample: certificate },
  ServerKeyExchange: {
    parse: (b) => readEcdheParameters(b, ['X25519']),
    sample: Buffer.concat([encodeEcdheParameters('X25519', Buffer.alloc(32)), Buffer.from('04030000', 'hex')]),
  },
  'handshake fragments': { parse: parseFragments, sample: Buffer.from('0b0000020000000000000002aabb', 'hex') },
  ACK: { parse: parseAck, sample: encodeAck([{ epoch: 3, sequence: 70_000 }]) },
  'key_share of a client': {
    parse: extensions.readKeyShares,
    sample: Buffer.from('0008001d0004aabbccdd', 'hex'),
  },
  'key_share of a server': { parse: extensions.readKeyShare, sample: Buffer.from('001d0004aabbccdd', 'hex') },
  supported_versions: { parse: extensions.readVersionList, sample: Buffer.from('04fefcfefd', 'hex') },
  supported_groups: { parse: extensions.readU16Vector, sample: Buffer.from('0004001d0017', 'hex') },
  use_srtp: { parse: extensions.readSrtpProfiles, sample: Buffer.from('0002000700', 'hex') },
  cookie: { parse: extensions.readCookie, sample: Buffer.from('0002aabb', 'hex') },
};

describe.each(Object.entries(parsers))('the parser of %s', (_, { parse, sample }) => {
  const readsOrRefuses = (bytes: Uint8Array) => {
    try {
      parse(Buffer.from(bytes));
    } catch (error) {
      expect(error).toMatchObject({ code: expect.stringMatching(/^DTLS_/) });
    }
  };

  test('reads what we write', () => {
    expect(() => parse(sample)).not.toThrow();
  });

  test('reads or refuses any bytes (fuzz)', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), readsOrRefuses), { numRuns: Math.ceil(fuzzRuns / 2) });
  });

  test('reads or refuses its own bytes, altered and cut (fuzz)', () => {
    const edits = fc.array(fc.tuple(fc.nat(sample.length - 1), fc.nat(255)), { maxLength: 4 });
    fc.assert(
      fc.property(edits, fc.nat(sample.length), (changes, cut) => {
        const bytes = Buffer.from(sample);
        for (const [at, value] of changes) bytes[at] = value;
        readsOrRefuses(bytes);
        readsOrRefuses(bytes.subarray(0, cut));
      }),
      { numRuns: Math.ceil(fuzzRuns / 2) },
    );
  });
});

describe('a certificate of ours', () => {
  test.each(['ecdsa-p256', 'ed25519'] as const)(
    'with a key of %s can be read, and is known by its fingerprint',
    (keyType) => {
      const made = createCertificate({ keyType, nowMs: Date.UTC(2026, 0, 1) });
      expect(certificateKey(made.certificate).asymmetricKeyType).toBe(keyType === 'ed25519' ? 'ed25519' : 'ec');
      expect(matchesFingerprint(made.certificate, [made.fingerprint])).toBe(true);
      for (const algorithm of ['sha-384', 'sha-512'] as const) {
        expect(matchesFingerprint(made.certificate, [fingerprintOf(made.certificate, algorithm)])).toBe(true);
      }
    },
  );

  test('is not known by a weaker fingerprint when a stronger one differs', () => {
    const stranger = fingerprintOf(createCertificate().certificate, 'sha-512');
    expect(matchesFingerprint(certificate, [fingerprintOf(certificate), stranger])).toBe(false);
    expect(matchesFingerprint(certificate, [])).toBe(false);
  });
});

test('options that cannot work are refused', () => {
  const make = (change: object) => () =>
    resolveOptions({
      role: 'client',
      identity: identityOf('client'),
      send() {},
      onEvent() {},
      onApplicationData() {},
      ...change,
    });
  expect(make({ mtuBytes: 100 })).toThrow(RangeError);
  expect(make({ versions: [] })).toThrow(RangeError);
  expect(make({ remoteFingerprints: [] })).toThrow(RangeError);
  expect(make({ remoteFingerprints: [{ algorithm: 'sha-256', value: Buffer.alloc(20) }] })).toThrow(RangeError);
  expect(make({ identity: { ...identityOf('client'), privateKey: identityOf('server').privateKey } })).toThrow(
    TypeError,
  );
});
