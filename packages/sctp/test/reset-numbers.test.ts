/** Request numbers of stream resets (RFC 6525 §5.1) when one of them never arrived. */

import { expect, test } from 'vitest';
import { StreamReset } from '../src/stream-reset.ts';

const PERFORMED = 1;
const BAD_SEQUENCE = 5;
const IN_PROGRESS = 6;

function answer(sequence: number, result: number): Buffer {
  const parameter = Buffer.alloc(12);
  parameter.writeUInt16BE(16, 0);
  parameter.writeUInt16BE(12, 2);
  parameter.writeUInt32BE(sequence, 4);
  parameter.writeUInt32BE(result, 8);
  return parameter;
}

test('a number that was skipped is used when the peer misses it', () => {
  const numbers: number[] = [];
  const done: [number, boolean][] = [];
  const reset = new StreamReset(
    {
      sendNext: (chunk) => numbers.push(chunk.readUInt32BE(8)),
      lastSentTsn: () => 0,
      hasAllThrough: () => true,
      peerReset: () => {},
      resetAsked: () => {},
      resetDone: (ids, isAccepted) => done.push(...ids.map((id): [number, boolean] => [id, isAccepted])),
    },
    100,
    200,
  );
  const hear = (sequence: number, result: number) => reset.onReconfig(answer(sequence, result), 100, 0);
  reset.add(1);
  reset.pump(100, 0);
  hear(100, IN_PROGRESS);
  hear(100, IN_PROGRESS);
  reset.onTimeout(100, 0); // by a new number, which is lost
  hear(100, PERFORMED);
  reset.add(3);
  reset.pump(100, 0);
  hear(102, BAD_SEQUENCE);
  hear(101, PERFORMED);
  reset.add(5);
  reset.pump(100, 0);
  expect(numbers).toEqual([100, 101, 102, 101, 102]);
  hear(102, BAD_SEQUENCE);
  expect(done).toEqual([
    [1, true],
    [3, true],
    [5, false],
  ]);
});
