import { expect, test } from 'vitest';
import { answerShare, createShare, type GroupName, hasMlKem } from '../src/key-exchange.ts';

const illegal = expect.objectContaining({ code: 'DTLS_ILLEGAL_PARAMETER' });
const groups: GroupName[] = hasMlKem ? ['X25519', 'P-256', 'X25519MLKEM768'] : ['X25519', 'P-256'];

test.each(groups)('both sides of %s get the same secret', (group) => {
  const share = createShare(group);
  const answer = answerShare(group, share.publicBytes);
  expect(share.agree(answer.publicBytes)).toEqual(answer.secret);
});

test.each(groups)('a share of %s that is short, long or all zeros is refused', (group) => {
  const { publicBytes } = createShare(group);
  const answer = answerShare(group, publicBytes).publicBytes;
  for (const bytes of [Buffer.alloc(0), publicBytes.subarray(1), Buffer.concat([publicBytes, Buffer.alloc(1)])]) {
    expect(() => answerShare(group, bytes)).toThrow(illegal);
  }
  for (const bytes of [answer.subarray(1), Buffer.concat([answer, Buffer.alloc(1)]), Buffer.alloc(answer.length)]) {
    expect(() => createShare(group).agree(bytes)).toThrow(illegal);
  }
});

test('a point off the curve, compressed or at infinity is refused', () => {
  const { publicBytes } = createShare('P-256');
  const off = Buffer.from(publicBytes);
  off[64] = (off[64] as number) ^ 1;
  const compressed = Buffer.concat([Buffer.from([2 + ((publicBytes[64] as number) & 1)]), publicBytes.subarray(1, 33)]);
  const hybrid = Buffer.from(publicBytes);
  hybrid[0] = 6 + ((publicBytes[64] as number) & 1);
  for (const bytes of [off, compressed, hybrid, Buffer.from([0])]) {
    expect(() => createShare('P-256').agree(bytes)).toThrow(illegal);
  }
});

test('X25519 points of small order are refused', () => {
  const one = Buffer.alloc(32);
  one[0] = 1;
  const order8 = Buffer.from('e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800', 'hex');
  for (const bytes of [Buffer.alloc(32), one, order8])
    expect(() => createShare('X25519').agree(bytes)).toThrow(illegal);
});

test.runIf(hasMlKem)('an encapsulation key that is not reduced is refused', () => {
  const bytes = createShare('X25519MLKEM768').publicBytes;
  bytes.fill(0xff, 0, 384);
  expect(() => answerShare('X25519MLKEM768', bytes)).toThrow(illegal);
});

test.each(groups)('a share of %s agrees once, and not when it was wiped', (group) => {
  const share = createShare(group);
  const { publicBytes } = answerShare(group, share.publicBytes);
  share.agree(publicBytes);
  expect(() => share.agree(publicBytes)).toThrow(TypeError);
  const wiped = createShare(group);
  wiped.wipe();
  expect(() => wiped.agree(publicBytes)).toThrow(TypeError);
});

test('an answer is made with the share that was prepared, if it is of the group', () => {
  const prepared = createShare('X25519');
  const peer = createShare('X25519');
  expect(answerShare('P-256', createShare('P-256').publicBytes, prepared).publicBytes).not.toEqual(
    prepared.publicBytes,
  );
  const answer = answerShare('X25519', peer.publicBytes, prepared);
  expect(answer.publicBytes).toBe(prepared.publicBytes);
  expect(peer.agree(answer.publicBytes)).toEqual(answer.secret);
});
