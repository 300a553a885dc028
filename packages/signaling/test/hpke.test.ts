import { createFakeKeyHolder } from '@claw/testkit';
import { Aes256Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from '@hpke/core';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { HpkeReader, startSealing } from '../src/hpke.ts';
import { failureOf } from './support.ts';

const suite = new CipherSuite({ kem: new DhkemX25519HkdfSha256(), kdf: new HkdfSha256(), aead: new Aes256Gcm() });
const key = await createFakeKeyHolder().issueSealingKey();
const info = Buffer.from('claw test');
const aad = Buffer.from('aad');

it('hpke opens what @hpke/core sealed, and @hpke/core what hpke sealed', async () => {
  const recipientPublicKey = await suite.kem.deserializePublicKey(key.publicKey);
  const recipientKey = {
    publicKey: recipientPublicKey,
    privateKey: await suite.kem.deserializePrivateKey(key.privateKey),
  };
  const bytes = fc.uint8Array({ maxLength: 300 });
  await fc.assert(
    fc.asyncProperty(bytes, bytes, bytes, async (plaintext, otherInfo, otherAad) => {
      const theirs = await suite.seal({ recipientPublicKey, info: otherInfo }, plaintext, otherAad);
      const opened = new HpkeReader(key).open(Buffer.from(theirs.enc), Buffer.from(theirs.ct), otherInfo, otherAad);
      expect(opened).toEqual(Buffer.from(plaintext));

      const ours = startSealing(key.publicKey, otherInfo);
      const sealed = ours.seal(plaintext, otherAad);
      const back = await suite.open({ recipientKey, enc: ours.enc, info: otherInfo }, sealed, otherAad);
      expect(Buffer.from(back)).toEqual(Buffer.from(plaintext));
    }),
    { numRuns: 40 },
  );
});

it('hpke opens nothing when any byte of what it covers was changed', () => {
  const context = startSealing(key.publicKey, info);
  const sealed = context.seal(Buffer.from('secret'), aad);
  const reader = new HpkeReader(key);
  expect(reader.open(context.enc, sealed, info, aad)?.toString()).toBe('secret');
  for (let at = 0; at < sealed.length; at += 1)
    expect(reader.open(context.enc, flip(sealed, at), info, aad)).toBeUndefined();
  for (let at = 0; at < 31; at += 1) expect(reader.open(flip(context.enc, at), sealed, info, aad)).toBeUndefined();
  expect(reader.open(context.enc, sealed, flip(info, 0), aad)).toBeUndefined();
  expect(reader.open(context.enc, sealed, info, flip(aad, 0))).toBeUndefined();
  expect(reader.open(context.enc, sealed.subarray(0, 15), info, aad)).toBeUndefined();
});

it('hpke seals one message and refuses a second with the same nonce', () => {
  const context = startSealing(key.publicKey, info);
  context.seal(Buffer.from('one'), aad);
  expect(() => context.seal(Buffer.from('two'), aad)).toThrow(TypeError);
});

it('hpke refuses a sealing key when it has the wrong length, low order, or halves that do not match', async () => {
  for (const bad of [Buffer.alloc(31), Buffer.alloc(32), Buffer.from([1, ...Buffer.alloc(31)])]) {
    expect(await failureOf(() => startSealing(bad, info))).toMatchObject({ code: 'SEALING_KEY_INVALID' });
  }
  const other = await createFakeKeyHolder().issueSealingKey();
  const mixed = { publicKey: other.publicKey, privateKey: key.privateKey };
  expect(await failureOf(() => new HpkeReader(mixed))).toMatchObject({ code: 'SEALING_KEY_INVALID' });
});

function flip(bytes: Uint8Array, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at] = (copy[at] as number) ^ 1;
  return copy;
}
