import { createHash, createHmac } from 'node:crypto';
import { expect, test } from 'vitest';
import { deriveSecret, emptyHash, expandLabel, hkdfExpand, hkdfExtract, hmacOf } from '../src/hkdf.ts';
import { exportKeys, finishedData, KeySchedule } from '../src/key-schedule.ts';
import { prf } from '../src/prf.ts';

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');

/** RFC 8448 §3, whose labels are those of TLS. */
const throughServerHello = hex('860c06edc07858ee8e78f0e7428c58edd6b43f2ca3e6e95f02ed063cf0e1cad8');
const throughServerFinished = hex('9608102a0f1ccc6db6250b7b7e417b1a000eaada3daae4777a7686c9ff83df13');
const sharedSecret = () => hex('8bd4054fb55b9d63fdfbacf9f04b9f0d35e6d63f537563efd46272900f89492d');

test('the key schedule gives the secrets of RFC 8448 §3', () => {
  const schedule = new KeySchedule('sha256', 'tls13 ');
  const handshake = schedule.handshakeSecrets(sharedSecret(), throughServerHello);
  expect(handshake.client).toEqual(hex('b3eddb126e067f35a780b3abf45e2d8f3b1a950738f52e9600746a0e27a55a21'));
  expect(handshake.server).toEqual(hex('b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38'));
  const application = schedule.applicationSecrets(throughServerFinished);
  expect(application.client).toEqual(hex('9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5'));
  expect(application.server).toEqual(hex('a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643'));
  expect(application.exporter).toEqual(hex('fe22f881176eda18eb8f44529e6792c50c9a3f89452f68d8ae311b4309d3cf50'));
});

test('traffic keys are those of RFC 8448 §3', () => {
  const secret = hex('b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38');
  const derive = (label: string, length: number) =>
    expandLabel('sha256', secret, label, Buffer.alloc(0), length, 'tls13 ');
  expect(derive('key', 16)).toEqual(hex('3fce516009c21727d0f2e4e86ee403bc'));
  expect(derive('iv', 12)).toEqual(hex('5d313eb2671276ee13000b30'));
  const finishedKey = hex('008d3b66f816ea559f96b537e885c31fc068bf492c652f01f288a1d8cdc19fc8');
  expect(derive('finished', 32)).toEqual(finishedKey);
  const expected = createHmac('sha256', finishedKey).update(throughServerHello).digest();
  expect(finishedData('sha256', secret, throughServerHello, 'tls13 ')).toEqual(expected);
});

test('the early secret and its derived secret are those of RFC 8448 §3', () => {
  const early = hkdfExtract('sha256', Buffer.alloc(32), Buffer.alloc(32));
  expect(early).toEqual(hex('33ad0a1c607ec03b09e6cd9893680ce210adf300aa1f2660e1b22e10f170f92a'));
  expect(deriveSecret('sha256', early, 'derived', emptyHash('sha256'), 'tls13 ')).toEqual(
    hex('6f2615a108c702c5678f54fc9dbab69716c076189c48250cebeac3576c3611ba'),
  );
});

test('a shared secret is wiped when it was used', () => {
  const secret = sharedSecret();
  new KeySchedule('sha256').handshakeSecrets(secret, throughServerHello);
  expect(secret).toEqual(Buffer.alloc(32));
});

test('HKDF gives the output of RFC 5869 §A.1', () => {
  const prk = hkdfExtract('sha256', hex('000102030405060708090a0b0c'), Buffer.alloc(22, 0x0b));
  expect(hkdfExpand('sha256', prk, hex('f0f1f2f3f4f5f6f7f8f9'), 42)).toEqual(
    hex('3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865'),
  );
});

test('the PRF of TLS 1.2 gives the published P_SHA256 vector', () => {
  const secret = hex('9bbe436ba940f017b17652849a71db35');
  const seed = hex('a0ba9f936cda311827a6f796ffd5198c');
  expect(prf('sha256', secret, 'test label', seed, 100)).toEqual(
    hex(
      'e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af0fa0' +
        '22f7077def17abfd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff70187347b66',
    ),
  );
});

test('DTLS 1.3 writes its own label prefix', () => {
  const secret = Buffer.alloc(32, 7);
  const info = Buffer.concat([hex('0010 09'), Buffer.from('dtls13key'), hex('00')]);
  expect(expandLabel('sha256', secret, 'key', Buffer.alloc(0), 16)).toEqual(hkdfExpand('sha256', secret, info, 16));
});

test('an exporter hashes its context (RFC 8446 §7.5)', () => {
  const secret = Buffer.alloc(32, 9);
  const derived = deriveSecret('sha256', secret, 'label', emptyHash('sha256'));
  const hash = createHash('sha256').update('context').digest();
  expect(exportKeys('sha256', secret, 'label', Buffer.from('context'), 40)).toEqual(
    expandLabel('sha256', derived, 'exporter', hash, 40),
  );
});

test.each(['sha256', 'sha384'] as const)(
  'HMAC with %s is that of OpenSSL, whatever the length of key and text',
  (hash) => {
    for (const keyBytes of [0, 16, 32, 48, 64]) {
      for (const textBytes of [0, 1, 55, 64, 300]) {
        const [key, text] = [Buffer.alloc(keyBytes, 3), Buffer.alloc(textBytes, 5)];
        const expected = createHmac(hash, key).update(text).digest();
        expect(hmacOf(hash, key, text.subarray(0, 20), text.subarray(20))).toEqual(expected);
      }
    }
  },
);
