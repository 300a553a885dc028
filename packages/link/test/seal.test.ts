import { loadOpenssl } from '@claw/aead';
import { fuzzRuns } from '@claw/testkit';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { deriveLaneKey, LAST_EPOCH, writeNonce } from '../src/seal/lane-keys.ts';
import { LaneOpener } from '../src/seal/lane-opener.ts';
import { type EpochLimits, LaneSealer, RECORD_OVERHEAD_BYTES } from '../src/seal/lane-sealer.ts';
import { SequenceWindow } from '../src/seal/sequence-window.ts';

// From the first record on, as in a link that carries much.
await loadOpenssl();

const secret = Buffer.alloc(32, 7);
const STRICT = { ordered: true, reliable: true };
const ANY = { ordered: false, reliable: true };
const RISING = { ordered: true, reliable: false };
const broken = expect.objectContaining({ code: 'LINK_SEAL_BROKEN' });

function sealAll(payloads: readonly Uint8Array[], limits?: EpochLimits): Buffer[] {
  const sealer = new LaneSealer(secret, 1, limits);
  return payloads.map((payload) => Buffer.from(sealer.seal(payload, [], 0)));
}

const payloads = (count: number) => Array.from({ length: count }, (_, index) => Buffer.from(`payload ${index}`));
// A copy, for an opener may write to what it is given.
const opened = (opener: LaneOpener, record: Buffer) => opener.open(Buffer.from(record))?.toString();

/** What `work` throws; the test fails when it does not. */
function refusalOf(work: () => unknown): unknown {
  try {
    return { returned: work() };
  } catch (error) {
    return error;
  }
}

describe('a lane', () => {
  test('opens what it sealed, whatever its parts (fuzz)', () => {
    const parts = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 5 });
    const limits = { records: 3, bytes: 700 };
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 20 }), fc.array(parts, { maxLength: 12 }), (head, messages) => {
        const sealer = new LaneSealer(secret, 4, limits);
        const opener = new LaneOpener(secret, 4, STRICT);
        for (const message of messages) {
          const length = message.reduce((sum, part) => sum + part.length, 0);
          const record = sealer.seal(head, message, length);
          expect(record.length).toBe(head.length + length + RECORD_OVERHEAD_BYTES);
          expect(opener.open(record)).toEqual(Buffer.concat([head, ...message]));
        }
      }),
      { numRuns: Math.ceil(fuzzRuns / 4) },
    );
  });

  test('changes its key when the records of an epoch are used up, and opens all of them', () => {
    const records = sealAll(payloads(10), { records: 3, bytes: 1e9 });
    expect(records.map((record) => record[0])).toEqual([1, 1, 1, 2, 2, 2, 3, 3, 3, 4]);
    const opener = new LaneOpener(secret, 1, STRICT);
    expect(records.map((record) => opened(opener, record))).toEqual(payloads(10).map(String));
  });

  test('changes its key when the bytes of an epoch are used up', () => {
    const records = sealAll([Buffer.alloc(60), Buffer.alloc(40), Buffer.alloc(1)], { records: 1e9, bytes: 100 });
    expect(records.map((record) => record[0])).toEqual([1, 1, 2]);
  });

  test('ends after its last epoch instead of using a key twice', () => {
    const sealer = new LaneSealer(secret, 1, { records: 1, bytes: 1e9 });
    for (let epoch = 1; epoch <= LAST_EPOCH; epoch += 1) sealer.seal(Buffer.from('x'), [], 0);
    expect(refusalOf(() => sealer.seal(Buffer.from('x'), [], 0))).toMatchObject({ code: 'LINK_CLOSED' });
  });

  test('refuses a record in which any one bit was changed', () => {
    const [record] = sealAll([Buffer.from('a payload')]) as [Buffer];
    for (let bit = 0; bit < record.length * 8; bit += 1) {
      const altered = Buffer.from(record);
      altered[bit >> 3] = (altered[bit >> 3] as number) ^ (1 << (bit & 7));
      for (const order of [STRICT, ANY, RISING]) {
        expect(refusalOf(() => new LaneOpener(secret, 1, order).open(altered))).toEqual(broken);
      }
    }
  });

  test('refuses a record that was cut or lengthened', () => {
    const [record] = sealAll([Buffer.from('a payload')]) as [Buffer];
    for (let length = 0; length < record.length; length += 1) {
      expect(refusalOf(() => new LaneOpener(secret, 1, STRICT).open(Buffer.from(record.subarray(0, length))))).toEqual(
        broken,
      );
    }
    const longer = Buffer.concat([record, Buffer.from([0])]);
    expect(refusalOf(() => new LaneOpener(secret, 1, STRICT).open(longer))).toEqual(broken);
  });

  test('refuses a record of another lane, of another secret and of the other direction', () => {
    const [record] = sealAll([Buffer.from('a payload')]) as [Buffer];
    expect(refusalOf(() => new LaneOpener(secret, 2, STRICT).open(Buffer.from(record)))).toEqual(broken);
    expect(refusalOf(() => new LaneOpener(Buffer.alloc(32, 8), 1, STRICT).open(Buffer.from(record)))).toEqual(broken);
  });

  test('that is ordered and reliable refuses every order but the one sent (fuzz)', () => {
    const records = sealAll(payloads(8), { records: 3, bytes: 1e9 });
    const order = fc.array(fc.nat(7), { minLength: 1, maxLength: 10 });
    fc.assert(
      fc.property(order, (indexes) => {
        const opener = new LaneOpener(secret, 1, STRICT);
        const good = indexes.findIndex((index, turn) => index !== turn);
        for (const [turn, index] of indexes.entries()) {
          const work = () => opener.open(Buffer.from(records[index] as Buffer));
          if (turn === good) {
            expect(refusalOf(work)).toEqual(broken);
            return;
          }
          expect(work()?.toString()).toBe(`payload ${index}`);
        }
      }),
      { numRuns: fuzzRuns },
    );
  });

  test('that is unordered opens each record once, in any order, with any repetition (fuzz)', () => {
    const records = sealAll(payloads(6), { records: 3, bytes: 1e9 });
    fc.assert(
      fc.property(fc.array(fc.nat(5), { maxLength: 30 }), (indexes) => {
        const opener = new LaneOpener(secret, 1, ANY);
        // Epoch 2 is always one step from epoch 1, so nothing here is out of reach.
        const seen = new Set<number>();
        for (const index of indexes) {
          expect(opened(opener, records[index] as Buffer)).toBe(seen.has(index) ? undefined : `payload ${index}`);
          seen.add(index);
        }
        expect(opener.highest).toBe(seen.size === 0 ? -1 : Math.max(...seen));
      }),
      { numRuns: fuzzRuns },
    );
  });

  test('that is lossy and ordered passes over what is late or repeated (fuzz)', () => {
    const records = sealAll(payloads(6));
    fc.assert(
      fc.property(fc.array(fc.nat(5), { maxLength: 20 }), (indexes) => {
        const opener = new LaneOpener(secret, 1, RISING);
        let highest = -1;
        for (const index of indexes) {
          expect(opened(opener, records[index] as Buffer)).toBe(index > highest ? `payload ${index}` : undefined);
          highest = Math.max(highest, index);
        }
      }),
      { numRuns: fuzzRuns },
    );
  });

  test('refuses an epoch that was left behind or skipped', () => {
    const records = sealAll(payloads(4), { records: 1, bytes: 1e9 });
    const skipped = new LaneOpener(secret, 1, ANY);
    expect(refusalOf(() => skipped.open(Buffer.from(records[2] as Buffer)))).toEqual(broken);
    const left = new LaneOpener(secret, 1, ANY);
    for (const index of [1, 2, 3]) left.open(Buffer.from(records[index] as Buffer));
    expect(refusalOf(() => left.open(Buffer.from(records[0] as Buffer)))).toEqual(broken);
  });

  test('refuses any bytes that nobody sealed (fuzz)', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.constantFrom(STRICT, ANY, RISING), (bytes, order) => {
        expect(refusalOf(() => new LaneOpener(secret, 1, order).open(Buffer.from(bytes)))).toEqual(broken);
      }),
      { numRuns: fuzzRuns },
    );
  });
});

test('keys and nonces differ for each lane, epoch, direction and record', () => {
  const seen = new Set<string>();
  const nonce = Buffer.alloc(12);
  for (const direction of [secret, Buffer.alloc(32, 8)]) {
    for (const lane of [0, 1, 2]) {
      for (const epoch of [1, 2, 255]) {
        const { key, iv } = deriveLaneKey(direction, lane, epoch);
        for (const sequence of [0, 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 47, 2 ** 48 - 1]) {
          writeNonce(nonce, iv, sequence);
          const block = Buffer.alloc(32);
          key.seal(nonce, Buffer.alloc(0), Buffer.alloc(16), block, 0);
          seen.add(block.toString('hex'));
        }
      }
    }
  }
  expect(seen.size).toBe(2 * 3 * 3 * 7);
});

test('a sequence window agrees with a set that forgets what is 65,536 behind (fuzz)', () => {
  const step = fc.oneof(fc.nat(40), fc.nat(70_000), fc.integer({ min: -70_000, max: 0 }));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const window = new SequenceWindow();
      const seen = new Set<number>();
      let highest = -1;
      for (const change of steps) {
        const sequence = Math.max(0, Math.max(highest, 0) + change);
        const expected = !seen.has(sequence) && (highest < 0 || sequence > highest - 65_536);
        expect(window.isNew(sequence)).toBe(expected);
        if (!expected) continue;
        window.add(sequence);
        seen.add(sequence);
        highest = Math.max(highest, sequence);
      }
    }),
    { numRuns: Math.ceil(fuzzRuns / 10) }, // a jump clears up to 65,536 bits
  );
});
