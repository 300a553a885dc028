import { fuzzRuns } from '@claw/testkit';
import { encodeCbor } from '@claw/wire';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ENVELOPE_HEAD_BYTES,
  envelopeHint,
  isEnvelopeFor,
  MAX_BODY_BYTES,
  MAX_CLOCK_SKEW_MS,
  MAX_ENVELOPE_BYTES,
  MAX_LIFETIME_MS,
  openEnvelope,
  sealEnvelope,
} from '../src/envelope.ts';
import { startSealing } from '../src/hpke.ts';
import { createNode, failureOf, makeContent, NOW } from './support.ts';

const alice = await createNode();
const bob = await createNode();
const eve = await createNode();
const INFO = Buffer.from('claw envelope v1');

/** Seals any plaintext to bob as an envelope, as a hostile sender can. */
function sealRaw(makePlaintext: (enc: Buffer) => Uint8Array): Buffer {
  const context = startSealing(bob.sealingKey.publicKey, INFO);
  const head = Buffer.concat([Buffer.of(1), envelopeHint(bob.publicKey, context.enc), context.enc]);
  return Buffer.concat([head, context.seal(makePlaintext(context.enc), head.subarray(0, 9))]);
}

const codeOf = (bytes: Uint8Array, nowMs = NOW) =>
  failureOf(() => openEnvelope(bob.reader, bytes, nowMs)).then((error) => (error as { code?: string }).code);

describe('envelope', () => {
  it('envelope opens to what was sealed when the reader is the one it is for', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 2000 }),
        fc.stringMatching(/^[\x21-\x7e]{1,32}$/),
        fc.nat({ max: Number.MAX_SAFE_INTEGER }),
        async (body, kind, sequence) => {
          const content = makeContent({ body, kind, sequence });
          const opened = openEnvelope(bob.reader, await sealEnvelope(alice.keyHolder, bob.recipient, content), NOW);
          expect(opened).toMatchObject({ from: alice.nodeId, kind, sequence, expiresAtMs: content.expiresAtMs });
          expect(Buffer.compare(opened.body, body)).toBe(0);
        },
      ),
      { numRuns: 50 },
    );
  });

  it('envelope stays within its maximum when every field is as long as it may be', async () => {
    const content = makeContent({
      body: Buffer.alloc(MAX_BODY_BYTES, 7),
      kind: 'k'.repeat(32),
      sequence: Number.MAX_SAFE_INTEGER,
    });
    const bytes = await sealEnvelope(alice.keyHolder, bob.recipient, content);
    expect(bytes.length).toBeLessThanOrEqual(MAX_ENVELOPE_BYTES);
    expect(openEnvelope(bob.reader, bytes, NOW).body.length).toBe(MAX_BODY_BYTES);
  });

  it('envelope shows nothing of sender, kind or body in its bytes', async () => {
    const content = makeContent({ kind: 'telltale-kind', body: Buffer.from('telltale-body') });
    const bytes = await sealEnvelope(alice.keyHolder, bob.recipient, content);
    expect(bytes.includes('telltale')).toBe(false);
    expect(bytes.includes(alice.publicKey)).toBe(false);
    expect(bytes.includes(bob.publicKey)).toBe(false);
  });

  it('envelope carries another hint each time, which only its reader knows', async () => {
    const one = await sealEnvelope(alice.keyHolder, bob.recipient, makeContent());
    const two = await sealEnvelope(alice.keyHolder, bob.recipient, makeContent());
    expect(one.subarray(1, 9).equals(two.subarray(1, 9))).toBe(false);
    for (const bytes of [one, two]) {
      expect(isEnvelopeFor(bob.publicKey, bytes.subarray(0, ENVELOPE_HEAD_BYTES))).toBe(true);
      expect(isEnvelopeFor(eve.publicKey, bytes)).toBe(false);
    }
  });
});

describe('opening', () => {
  it('opening says ENVELOPE_MALFORMED when bytes are too short or of another version', async () => {
    const bytes = await sealEnvelope(alice.keyHolder, bob.recipient, makeContent());
    expect(await codeOf(Buffer.alloc(0))).toBe('ENVELOPE_MALFORMED');
    expect(await codeOf(bytes.subarray(0, 56))).toBe('ENVELOPE_MALFORMED');
    expect(await codeOf(Buffer.concat([Buffer.of(2), bytes.subarray(1)]))).toBe('ENVELOPE_MALFORMED');
  });

  it('opening says ENVELOPE_MALFORMED when the plaintext is no proper map', async () => {
    const sig = Buffer.alloc(64);
    const whole = { from: alice.publicKey, to: bob.publicKey, seq: 1, exp: NOW, kind: 'k', body: Buffer.alloc(0), sig };
    const wrong = [
      { ...whole, extra: 1 },
      { ...whole, from: Buffer.alloc(31) },
      { ...whole, seq: -1 },
      { ...whole, seq: 1.5 },
      { ...whole, kind: '' },
      { ...whole, kind: 'k'.repeat(33) },
      { ...whole, kind: 'two words' },
      { ...whole, body: Buffer.alloc(MAX_BODY_BYTES + 1) },
      { ...whole, sig: Buffer.alloc(63) },
    ];
    for (const map of wrong) expect(await codeOf(sealRaw(() => encodeCbor(map)))).toBe('ENVELOPE_MALFORMED');
    expect(await codeOf(sealRaw(() => Buffer.from('not CBOR at all')))).toBe('ENVELOPE_MALFORMED');
    expect(await codeOf(sealRaw(() => encodeCbor(whole)))).toBe('ENVELOPE_FORGED');
  });

  it('opening says ENVELOPE_NOT_FOR_US when hint or content name another reader', async () => {
    expect(await codeOf(await sealEnvelope(alice.keyHolder, eve.recipient, makeContent()))).toBe('ENVELOPE_NOT_FOR_US');
    const map = { from: alice.publicKey, to: eve.publicKey, seq: 1, exp: NOW, kind: 'k', body: Buffer.alloc(0) };
    const bytes = sealRaw(() => encodeCbor({ ...map, sig: Buffer.alloc(64) }));
    expect(await codeOf(bytes)).toBe('ENVELOPE_NOT_FOR_US');
  });

  it('opening says ENVELOPE_UNSEALABLE when any byte of the ciphertext was altered', async () => {
    const bytes = await sealEnvelope(alice.keyHolder, bob.recipient, makeContent());
    for (let at = ENVELOPE_HEAD_BYTES; at < bytes.length; at += 1) {
      const altered = Buffer.from(bytes);
      altered[at] = (altered[at] as number) ^ 0x80;
      expect(await codeOf(altered)).toBe('ENVELOPE_UNSEALABLE');
    }
    const otherKey = { to: bob.nodeId, sealingKey: eve.sealingKey.publicKey };
    expect(await codeOf(await sealEnvelope(alice.keyHolder, otherKey, makeContent()))).toBe('ENVELOPE_UNSEALABLE');
  });

  it('opening says ENVELOPE_FORGED when the signature is of another key, purpose, message or encapsulated key', async () => {
    const unsigned = { from: alice.publicKey, to: bob.publicKey, seq: 1, exp: NOW, kind: 'k', body: Buffer.alloc(0) };
    const message = encodeCbor(unsigned);
    const seal = (sig: Uint8Array) => sealRaw(() => encodeCbor({ ...unsigned, sig }));
    expect(await codeOf(seal(await eve.keyHolder.sign('envelope', message)))).toBe('ENVELOPE_FORGED');
    expect(await codeOf(seal(await alice.keyHolder.sign('invite', message)))).toBe('ENVELOPE_FORGED');
    // Signed by alice, but without the encapsulated key: what a reader could seal again to a third.
    expect(await codeOf(seal(await alice.keyHolder.sign('envelope', message)))).toBe('ENVELOPE_FORGED');
  });

  it('opening says ENVELOPE_EXPIRED or ENVELOPE_FROM_FUTURE beyond the clock skew, and not within', async () => {
    const open = async (expiresAtMs: number) => {
      const bytes = await sealEnvelope(alice.keyHolder, bob.recipient, makeContent({ expiresAtMs }));
      return openEnvelope(bob.reader, bytes, NOW);
    };
    const latest = NOW + MAX_LIFETIME_MS + MAX_CLOCK_SKEW_MS;
    await expect(open(NOW - MAX_CLOCK_SKEW_MS)).resolves.toMatchObject({ from: alice.nodeId });
    await expect(open(latest)).resolves.toMatchObject({ from: alice.nodeId });
    await expect(open(NOW - MAX_CLOCK_SKEW_MS - 1)).rejects.toMatchObject({ code: 'ENVELOPE_EXPIRED' });
    await expect(open(latest + 1)).rejects.toMatchObject({ code: 'ENVELOPE_FROM_FUTURE' });
  });

  it('opening and sealing say ENVELOPE_TOO_LARGE above the maximum', async () => {
    expect(await codeOf(Buffer.alloc(MAX_ENVELOPE_BYTES + 1, 1))).toBe('ENVELOPE_TOO_LARGE');
    const content = makeContent({ body: Buffer.alloc(MAX_BODY_BYTES + 1) });
    await expect(sealEnvelope(alice.keyHolder, bob.recipient, content)).rejects.toMatchObject({
      code: 'ENVELOPE_TOO_LARGE',
    });
  });

  it('sealing throws RangeError when kind or numbers are out of range', async () => {
    for (const changes of [{ kind: '' }, { kind: 'ü' }, { kind: 'a b' }, { sequence: -1 }, { expiresAtMs: 0.5 }]) {
      await expect(sealEnvelope(alice.keyHolder, bob.recipient, makeContent(changes))).rejects.toThrow(RangeError);
    }
  });
});

describe('fuzz', () => {
  it('opening throws nothing but its own codes when bytes are arbitrary (fuzz)', async () => {
    const sound = await sealEnvelope(alice.keyHolder, bob.recipient, makeContent());
    const arbitrary = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc.uint8Array({ maxLength: 300 }).map((tail) => Buffer.concat([sound.subarray(0, ENVELOPE_HEAD_BYTES), tail])),
      fc.tuple(fc.nat({ max: sound.length - 1 }), fc.integer({ min: 1, max: 255 })).map(([at, change]) => {
        const altered = Buffer.from(sound);
        altered[at] = (altered[at] as number) ^ change;
        return altered;
      }),
    );
    await fc.assert(
      fc.asyncProperty(arbitrary, async (bytes) => {
        expect(await codeOf(bytes)).toMatch(/^ENVELOPE_(MALFORMED|NOT_FOR_US|UNSEALABLE)$/);
      }),
      { numRuns: fuzzRuns },
    );
  });

  it('opening throws nothing but its own codes when the sealed plaintext is arbitrary (fuzz)', async () => {
    const value = fc.anything({ maxDepth: 2, withBigInt: false, withTypedArray: true });
    const field = fc.oneof(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.string(), fc.integer(), value);
    const map = fc.record(
      { from: field, to: fc.constant(bob.publicKey), seq: field, exp: field, kind: field, body: field, sig: field },
      { noNullPrototype: true },
    );
    const plaintext = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      map.map((fields) => {
        try {
          return encodeCbor(fields);
        } catch {
          return new Uint8Array(0);
        }
      }),
    );
    await fc.assert(
      fc.asyncProperty(plaintext, async (bytes) => {
        expect(await codeOf(sealRaw(() => bytes))).toMatch(/^ENVELOPE_/);
      }),
      { numRuns: fuzzRuns },
    );
  });
});
