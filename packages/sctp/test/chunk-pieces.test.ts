import { fuzzRuns } from '@claw/testkit';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PieceCutter, PieceJoiner, readPiece } from '../src/chunk-pieces.ts';
import { PacketWriter } from '../src/packet-writer.ts';

/** The bodies of the pieces of a chunk, as packets of these sizes in turn carry them. */
function cut(body: Buffer, packetBytes: readonly number[]): Buffer[] {
  const cutter = new PieceCutter();
  const writer = new PacketWriter();
  const pieces: Buffer[] = [];
  cutter.begin(3, body);
  for (let packet = 0, isDone = false; !isDone; packet++) {
    writer.open(5000, 5000, 1, packetBytes[packet % packetBytes.length]!);
    isDone = cutter.write(writer);
    const bytes = Buffer.from(writer.finish(false));
    for (let at = 12; at < bytes.length; at += (bytes.readUInt16BE(at + 2) + 3) & ~3) {
      expect([bytes[at], bytes[at + 1]]).toEqual([161, 3]);
      pieces.push(bytes.subarray(at + 4, at + bytes.readUInt16BE(at + 2)));
    }
    writer.close();
  }
  expect(cutter.tsn).toBeUndefined();
  return pieces;
}

/** The body of a chunk with this TSN, of bytes that tell their places. */
function chunkBody(tsn: number, length: number): Buffer {
  const body = Buffer.from(Array.from({ length }, (_, at) => (at * 31 + tsn) & 255));
  body.writeUInt32BE(tsn);
  return body;
}

function piece(tsn: number, index: number, count: number, length = 224): Buffer {
  const body = Buffer.alloc(8 + length);
  body.writeUInt32BE(tsn);
  body.writeUInt16BE(index, 4);
  body.writeUInt16BE(count, 6);
  return body;
}

test('a piece is on the wire as the package documents it', () => {
  const body = chunkBody(0x01020304, 4 + 224 + 5);
  expect(cut(body, [508]).map((bytes) => bytes.toString('hex'))).toEqual([
    `0102030400000002${body.subarray(4, 228).toString('hex')}`,
    `0102030400010002${body.subarray(228).toString('hex')}`,
  ]);
});

test('the smallest packet has room for two pieces, the greatest chunk for 293', () => {
  expect(cut(chunkBody(1, 4 + 2 * 224), [508])).toHaveLength(2);
  expect(cut(chunkBody(1, 65_531), [508])).toHaveLength(293);
});

test('chunks of any size come out of their pieces whole, in whatever order, doubled and beside others (fuzz)', () => {
  const chunks = fc.uniqueArray(fc.tuple(fc.nat(0xffff_ffff), fc.integer({ min: 5, max: 3000 })), {
    minLength: 1,
    maxLength: 4,
    selector: ([tsn]) => tsn,
  });
  const sizes = fc.array(fc.integer({ min: 508, max: 1500 }), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(chunks, sizes, fc.infiniteStream(fc.nat(999)), (made, packetBytes, order) => {
      const bodies = made.map(([tsn, length]) => chunkBody(tsn, length));
      const pieces = bodies.flatMap((body) => cut(body, packetBytes));
      const doubled = pieces.flatMap((bytes) => (order.next().value % 4 === 0 ? [bytes, bytes] : [bytes]));
      const shuffled = doubled
        .map((bytes) => ({ bytes, at: order.next().value }))
        .toSorted((one, other) => one.at - other.at);
      const joiner = new PieceJoiner();
      const whole = new Map<number, Buffer>();
      for (const { bytes } of shuffled) {
        // As the receiver, which asks for no more of what has arrived.
        if (whole.has(bytes.readUInt32BE())) continue;
        const joined = joiner.add(readPiece(bytes)!);
        if (joined) whole.set(bytes.readUInt32BE(), joined);
      }
      expect(bodies.map((body) => whole.get(body.readUInt32BE()))).toEqual(bodies);
    }),
    { numRuns: Math.ceil(fuzzRuns / 4) },
  );
});

test.each<[string, Buffer]>([
  ['nothing but a header', piece(1, 0, 1, 0)],
  ['a place beyond the last', piece(1, 2, 2)],
  ['no pieces', piece(1, 0, 0)],
  ['more than the greatest chunk has', piece(1, 0, 294)],
  ['too little before the last', piece(1, 0, 2, 223)],
  ['too much in the last', piece(1, 1, 2, 225)],
])('a piece with %s is malformed', (_, body) => {
  expect(readPiece(body)).toBeUndefined();
});

test('any bytes are a piece or malformed, and what they are joined to has the length that they say (fuzz)', () => {
  const joiner = new PieceJoiner();
  const bodies = fc.oneof(
    fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    fc.tuple(fc.nat(6), fc.nat(4), fc.nat(4), fc.constantFrom(0, 1, 100, 223, 224, 225)).map((of) => piece(...of)),
  );
  fc.assert(
    fc.property(bodies, (body) => {
      const read = readPiece(body);
      if (!read) return;
      expect(read.index).toBeLessThan(read.count);
      expect(read.bytes.length).toBeLessThanOrEqual(224);
      const joined = joiner.add(read);
      if (!joined) return;
      expect(joined.readUInt32BE()).toBe(read.tsn);
      expect(Math.ceil((joined.length - 4) / 224)).toBe(read.count);
    }),
    { numRuns: fuzzRuns },
  );
});

test.each([
  ['greatest', 293, 4],
  ['small', 7, 167],
])('of the %s chunks that a peer begins the newest are held, within 263 KB', (_, count, held) => {
  const joiner = new PieceJoiner();
  const tsns = Array.from({ length: 1000 }, (__, tsn) => tsn);
  for (const tsn of tsns) for (let index = 1; index < count; index++) joiner.add(readPiece(piece(tsn, index, count))!);
  const whole = tsns.toReversed().filter((tsn) => joiner.add(readPiece(piece(tsn, 0, count))!));
  expect(whole).toEqual(tsns.slice(-held).toReversed());
});

test('a chunk that has arrived otherwise is held no longer', () => {
  const joiner = new PieceJoiner();
  for (const tsn of [0xffff_fffe, 3]) joiner.add(readPiece(piece(tsn, 0, 2))!);
  joiner.dropThrough(2);
  expect(joiner.add(readPiece(piece(0xffff_fffe, 1, 2))!)).toBeUndefined();
  expect(joiner.add(readPiece(piece(3, 1, 2))!)).toHaveLength(4 + 2 * 224);
});
