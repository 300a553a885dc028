import { randomBytes } from 'node:crypto';
import { fuzzRuns } from '@claw/testkit';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cutFragments, FRAGMENT_HEADER_BYTES, MAX_FRAGMENTS, Reassembler } from '../src/fragments.ts';

const MAX = 16 * 100;
const open = (isForUs = (_head: Uint8Array) => true) => new Reassembler({ isForUs, maxEnvelopeBytes: MAX });

describe('fragments', () => {
  it('fragments give the same bytes back in any order, with repetitions, among those of others', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ minLength: 1, maxLength: MAX }), { minLength: 1, maxLength: 4 }),
        fc.infiniteStream(fc.nat()),
        (envelopes, chance) => {
          const distinct = [...new Map(envelopes.map((bytes) => [Buffer.from(bytes).toString('hex'), bytes])).values()];
          const all = distinct.flatMap((envelope) => cutFragments(envelope, 100));
          const mixed = [...all, ...all]
            .map((fragment) => ({ fragment, at: chance.next().value }))
            .sort((a, b) => a.at - b.at);
          const reassembler = open();
          const whole = mixed.flatMap(({ fragment }) => reassembler.accept(fragment, 0) ?? []);
          const texts = (list: Uint8Array[]) => list.map((bytes) => Buffer.from(bytes).toString('hex')).sort();
          expect(texts(whole)).toEqual(texts(distinct));
          expect([reassembler.partials, reassembler.bytes]).toEqual([0, 0]);
        },
      ),
      { numRuns: Math.min(fuzzRuns, 500) },
    );
  });

  it('fragments are the same each time, so a repetition completes what was lost', () => {
    const envelope = randomBytes(1000);
    const [first, second] = [cutFragments(envelope, 100), cutFragments(envelope, 100)];
    expect(first).toEqual(second);
    const reassembler = open();
    for (const fragment of first.filter((_, index) => index % 2 === 0)) reassembler.accept(fragment, 0);
    const odd = second.filter((_, index) => index % 2 === 1);
    expect(odd.flatMap((fragment) => reassembler.accept(fragment, 0) ?? [])).toEqual([envelope]);
  });

  it('cutting throws RangeError when more than 16 fragments were needed', () => {
    expect(cutFragments(randomBytes(1600), 100)).toHaveLength(MAX_FRAGMENTS);
    expect(() => cutFragments(randomBytes(1601), 100)).toThrow(RangeError);
    expect(() => cutFragments(randomBytes(10), 10)).toThrow(RangeError);
  });
});

describe('reassembler', () => {
  it('reassembler drops an envelope at its first fragment when it is for another node', () => {
    const reassembler = open((head) => head[0] === 1);
    const ours = cutFragments(Buffer.concat([Buffer.of(1), randomBytes(299)]), 100);
    const theirs = cutFragments(Buffer.concat([Buffer.of(2), randomBytes(299)]), 100);
    for (const fragment of theirs.toReversed()) expect(reassembler.accept(fragment, 0)).toBeUndefined();
    expect(reassembler.partials).toBe(0);
    for (const fragment of theirs.slice(1)) reassembler.accept(fragment, 0);
    expect([reassembler.partials, reassembler.bytes]).toEqual([0, 0]);
    expect(ours.flatMap((fragment) => reassembler.accept(fragment, 0) ?? [])).toHaveLength(1);
  });

  it('reassembler forgets an incomplete envelope after 5 s, and a complete one as well', () => {
    const reassembler = open();
    const fragments = cutFragments(randomBytes(200), 100) as [Buffer, Buffer];
    reassembler.accept(fragments[0], 0);
    reassembler.accept(cutFragments(randomBytes(200), 100)[0] as Buffer, 5001);
    expect(reassembler.partials).toBe(1);
    expect(reassembler.accept(fragments[1], 5001)).toBeUndefined();
    expect(reassembler.accept(fragments[0], 5001)).toHaveLength(200);
    expect(reassembler.accept(fragments[0], 5002)).toBeUndefined();
    expect(reassembler.stats()).toMatchObject({ evicted: 1, ignored: 1 });
    reassembler.accept(fragments[0], 10_002);
    expect(reassembler.accept(fragments[1], 10_002)).toHaveLength(200);
  });

  it('reassembler keeps its bounds of number and memory when fragments of thousands of envelopes flood in', () => {
    const reassembler = new Reassembler({ isForUs: () => true, maxEnvelopeBytes: 20_800 });
    for (let count = 0; count < 5000; count += 1) {
      const fragments = cutFragments(randomBytes(20_000), 1300);
      for (const fragment of fragments.slice(count % 2, 12)) reassembler.accept(fragment, 0);
      expect(reassembler.partials).toBeLessThanOrEqual(256);
      expect(reassembler.bytes).toBeLessThanOrEqual(1024 * 1024);
    }
    const late = randomBytes(3000);
    expect(cutFragments(late, 1300).flatMap((fragment) => reassembler.accept(fragment, 0) ?? [])).toEqual([late]);
  });

  it('reassembler drops what does not match its id, and takes the right fragments afterwards', () => {
    const reassembler = open();
    const envelope = randomBytes(200);
    const [first, second] = cutFragments(envelope, 100) as [Buffer, Buffer];
    const wrong = Buffer.from(second);
    wrong[50] = (wrong[50] as number) ^ 1;
    reassembler.accept(first, 0);
    expect(reassembler.accept(wrong, 0)).toBeUndefined();
    expect([first, second].flatMap((fragment) => reassembler.accept(fragment, 0) ?? [])).toEqual([envelope]);
  });

  it('reassembler takes an envelope for us although a forged first fragment of it was for another node', () => {
    const reassembler = open((head) => head[0] === 1);
    const envelope = Buffer.concat([Buffer.of(1), randomBytes(299)]);
    const [first, ...others] = cutFragments(envelope, 100) as [Buffer, ...Buffer[]];
    const forged = Buffer.from(first);
    forged[FRAGMENT_HEADER_BYTES] = 2;
    reassembler.accept(forged, 0);
    expect(reassembler.accept(others[0] as Buffer, 0)).toBeUndefined();
    expect([first, ...others].flatMap((fragment) => reassembler.accept(fragment, 0) ?? [])).toEqual([envelope]);
  });

  it('reassembler refuses fragments when they disagree with each other or are too long together', () => {
    const reassembler = new Reassembler({ isForUs: () => true, maxEnvelopeBytes: 250 });
    const [first] = cutFragments(randomBytes(200), 100) as [Buffer];
    reassembler.accept(first, 0);
    const other = Buffer.from(first);
    other[9] = 2;
    other[10] = 3;
    reassembler.accept(other, 0);
    expect(reassembler.stats().malformed).toBe(1);
    for (const fragment of cutFragments(randomBytes(300), 100)) reassembler.accept(fragment, 0);
    expect(reassembler.stats().malformed).toBe(2);
    expect(reassembler.partials).toBe(1);
  });

  it('reassembler throws nothing and keeps its bounds when fragments are arbitrary (fuzz)', () => {
    const reassembler = new Reassembler({
      isForUs: (head) => (head[0] ?? 0) % 2 === 0,
      maxEnvelopeBytes: 200,
      maxPartials: 8,
      maxBytes: 2000,
    });
    const header = fc
      .tuple(fc.nat({ max: 3 }), fc.nat({ max: 17 }), fc.nat({ max: 17 }))
      .map(([id, index, count]) => Buffer.of(0xc1, 0, 0, 0, 0, 0, 0, 0, id, index, count));
    const fragment = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc.tuple(header, fc.uint8Array({ maxLength: 120 })).map((parts) => Buffer.concat(parts)),
    );
    let now = 0;
    fc.assert(
      fc.property(fragment, fc.nat({ max: 300 }), (bytes, step) => {
        now += step;
        const whole = reassembler.accept(bytes, now);
        if (whole) expect(whole.length).toBeLessThanOrEqual(200);
        expect(reassembler.partials).toBeLessThanOrEqual(8);
        expect(reassembler.bytes).toBeGreaterThanOrEqual(0);
        expect(reassembler.bytes).toBeLessThanOrEqual(2000);
        if (reassembler.partials === 0) expect(reassembler.bytes).toBe(0);
      }),
      { numRuns: fuzzRuns },
    );
  });
});
