import { isClawError } from '@claw/base';
import { fuzzRuns } from '@claw/testkit';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { randomStream } from '../src/core/random-stream.ts';
import { NatCore, openSimnet, ReferencePeer } from '../src/index.ts';
import {
  decodeStun,
  decodeStunAddress,
  encodeStun,
  encodeStunAddress,
  isSignedWith,
  type StunClass,
} from '../src/stun/message.ts';
import { behindRouters, PLAIN_NAT, SERVER } from './topologies.ts';

const random = randomStream(1, 'foreign bytes');
const bytes = fc.uint8Array({ maxLength: 120 });
/** Bytes that get past the first checks: a STUN header with a right length. */
const stunLike = fc
  .tuple(fc.integer({ min: 0, max: 0x3fff }), fc.uint8Array({ maxLength: 100 }))
  .map(([type, rest]) => {
    const body = Buffer.from(rest.subarray(0, rest.length & ~3));
    const header = Buffer.alloc(20);
    header.writeUInt16BE(type, 0);
    header.writeUInt16BE(body.length, 2);
    header.writeUInt32BE(0x2112a442, 4);
    return Buffer.concat([header, body]);
  });

function refusal(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    if (!isClawError(error, 'SIMNET_MALFORMED')) throw error;
  }
  return undefined;
}

describe('foreign bytes', () => {
  test('are decoded as STUN or refused with a code (fuzz)', () => {
    const property = fc.property(fc.oneof(bytes, stunLike), (input) => {
      refusal(() => {
        const message = decodeStun(input);
        isSignedWith(input, Buffer.from('key'));
        for (const { value } of message.attributes) refusal(() => decodeStunAddress(value, message.transaction));
      });
    });
    fc.assert(property, { numRuns: fuzzRuns });
  });

  test('encoded STUN decodes to what it was, signed by its key alone (fuzz)', () => {
    const attribute = fc.record({
      type: fc.integer({ min: 0x8000, max: 0xffff }),
      value: fc.uint8Array({ maxLength: 30 }).map((value) => Buffer.from(value)),
    });
    const classes = fc.constantFrom<StunClass>('request', 'indication', 'success', 'error');
    const property = fc.property(
      fc.integer({ min: 0, max: 0xfff }),
      classes,
      fc.array(attribute),
      (method, kind, attributes) => {
        const message = { method, class: kind, transaction: Buffer.alloc(12, 7), attributes };
        expect(decodeStun(encodeStun(message))).toEqual(message);
        const signed = encodeStun(message, Buffer.from('key'));
        expect([isSignedWith(signed, Buffer.from('key')), isSignedWith(signed, Buffer.from('other'))]).toEqual([
          true,
          false,
        ]);
      },
    );
    fc.assert(property, { numRuns: fuzzRuns / 4 });
  });

  test('a STUN address survives the way there and back, in both families', () => {
    for (const address of ['192.0.2.1', '2001:db8::1', '::', 'ff02::1:2']) {
      const endpoint = { address, port: 54_321 };
      const transaction = random.bytes(12);
      expect(decodeStunAddress(encodeStunAddress(endpoint, transaction), transaction)).toEqual(endpoint);
    }
  });

  test('as a request for a port are answered or ignored by a NAT (fuzz)', () => {
    const nat = new NatCore({ ...PLAIN_NAT, portMapping: ['nat-pmp', 'pcp'] }, { outsideAddress: '192.0.2.1', random });
    const from = { address: '10.0.0.2', port: 5350 };
    const begun = fc.tuple(fc.constantFrom(0, 1, 2), fc.integer({ min: 0, max: 130 }), bytes);
    const property = fc.property(begun, ([version, opcode, rest]) => {
      const request = Buffer.concat([Buffer.of(version, opcode), rest]);
      if (version === 2 && request.length >= 24)
        Buffer.from('00000000000000000000ffff0a000002', 'hex').copy(request, 8);
      const answer = nat.handlePortMapping(request, from, 1000);
      if (answer) expect(answer.readUInt8(1)).toBe(128 | opcode);
    });
    fc.assert(property, { numRuns: fuzzRuns });
  });

  test('leave the turn service running (fuzz)', async () => {
    using simnet = openSimnet(behindRouters({ nat: PLAIN_NAT }), { seed: 1 });
    const socket = simnet.host('a').bindUdp();
    const stream = await simnet.runUntil(simnet.host('a').connectTcp({ address: SERVER, port: 3478 }), 1000);
    for (const input of fc.sample(fc.oneof(bytes, stunLike), fuzzRuns)) {
      socket.send(input, { address: SERVER, port: 3478 });
      await stream.write(input);
      await simnet.run(simnet.nowMs + 1);
    }
    await simnet.run(simnet.nowMs + 1000);
    const answer = new Promise<Buffer>((resolve) => socket.onMessage(resolve));
    const message = { method: 1, class: 'request', transaction: Buffer.alloc(12, 3), attributes: [] } as const;
    socket.send(encodeStun(message), { address: SERVER, port: 3478 });
    expect(decodeStun(await simnet.runUntil(answer, simnet.nowMs + 1000)).class).toBe('success');
  });

  test('leave a reference peer as it was (fuzz)', () => {
    const local = [{ address: '10.0.0.2', port: 5000 }];
    const peer = new ReferencePeer({ role: 'a', local, stunServers: [], random });
    peer.poll(0);
    const property = fc.property(fc.oneof(bytes, stunLike), (input) => {
      peer.handle(Buffer.from(input), { address: '192.0.2.1', port: 1 }, { address: '10.0.0.2', port: 5000 }, 1);
    });
    fc.assert(property, { numRuns: fuzzRuns });
    expect(peer.state).toBe('checking');
    expect(peer.path).toBeUndefined();
  });
});
