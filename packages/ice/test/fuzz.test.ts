/** Every parser of foreign bytes: any input ends, in memory and time in proportion to it, with a value or a known error. */

import { isClawError } from '@claw/base';
import { fuzzRuns } from '@claw/testkit';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addressFromBytes, canonicalAddress } from '../src/address.ts';
import type { Candidate } from '../src/candidate/candidate.ts';
import { formatCandidate, parseCandidate } from '../src/candidate/candidate-line.ts';
import { parseServers } from '../src/candidate/server-url.ts';
import { readMdnsAnswers } from '../src/mdns/mdns-message.ts';
import { ATTRIBUTE } from '../src/stun/constants.ts';
import { StunWriter } from '../src/stun/encode.ts';
import { frameRfc4571, StreamDeframer, type StreamFraming } from '../src/stun/framing.ts';
import { verifyIntegrity } from '../src/stun/integrity.ts';
import { addressOf, decodeStun, errorOf, unknownRequired } from '../src/stun/message.ts';
import { BareAgent } from './bare-agent.ts';
import { mdnsResponse } from './mdns-response.ts';

const runs = { numRuns: fuzzRuns };
const word16 = fc.integer({ min: 0, max: 0xffff });
const bytes = (maxLength: number) => fc.uint8Array({ maxLength }).map((array) => Buffer.from(array));

/** A message with a right head and attributes of any kind. */
const message = fc
  .tuple(
    word16,
    fc.array(fc.tuple(fc.oneof(fc.constantFrom(...Object.values(ATTRIBUTE)), word16), bytes(40)), { maxLength: 12 }),
  )
  .map(([type, attributes]) => {
    const writer = new StunWriter('request', 1, Buffer.alloc(12, 7));
    for (const [attribute, value] of attributes) writer.bytes(attribute, value);
    const finished = Buffer.from(writer.finish());
    // The first byte of STUN is 0 to 3 (RFC 7983).
    finished.writeUInt16BE(type & 0x3ff, 0);
    return finished;
  });

const mutated = (source: fc.Arbitrary<Buffer>) =>
  fc
    .tuple(source, fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 6 }), fc.nat(8))
    .map(([whole, changes, cut]) => {
      const copy = Buffer.from(whole);
      for (const [at, value] of changes) if (copy.length > 0) copy[at % copy.length] = value;
      return copy.subarray(0, copy.length - Math.min(cut, copy.length));
    });

describe('fuzz', () => {
  it('STUN messages: fuzz', () => {
    fc.assert(
      fc.property(fc.oneof(bytes(200), message, mutated(message)), (input) => {
        const decoded = decodeStun(input);
        if (!decoded) return;
        for (const type of decoded.attributes.keys()) addressOf(decoded, type);
        errorOf(decoded);
        unknownRequired(decoded);
        verifyIntegrity(decoded, Buffer.from('key'));
        verifyIntegrity(decoded, Buffer.from('key'), 'sha256');
        expect(decoded.attributes.size).toBeLessThanOrEqual(64);
      }),
      runs,
    );
  });

  it('what the writer writes the reader reads: fuzz', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.tuple(word16, bytes(60)), { maxLength: 20, selector: ([type]) => type }),
        (attributes) => {
          const plain = attributes.filter(([type]) => ![0x8028, 8, 0x1c].includes(type));
          const writer = new StunWriter('indication', 0x6f, Buffer.alloc(12, 9));
          for (const [type, value] of plain) writer.bytes(type, value);
          const decoded = decodeStun(writer.integrity(Buffer.from('k')).finishWithFingerprint());
          expect(decoded).toMatchObject({ class: 'indication', method: 0x6f, hasFingerprint: true });
          expect(verifyIntegrity(decoded!, Buffer.from('k'))).toBe(true);
          for (const [type, value] of plain) expect(decoded?.attributes.get(type)?.value).toEqual(value);
        },
      ),
      { numRuns: Math.ceil(fuzzRuns / 4) },
    );
  });

  it('an agent that hears anything from anybody: fuzz', () => {
    const bare = new BareAgent({ controlling: false });
    const id = bare.open();
    bare.meet();
    const port = fc.integer({ min: 1, max: 65_535 });
    fc.assert(
      fc.property(fc.oneof(bytes(100), message, mutated(message)), port, fc.boolean(), (input, from, isOurs) => {
        bare.hear(id, isOurs ? input : bare.check(), { address: '192.0.2.7', port: from });
        bare.wait(1);
        bare.sent.length = 0;
      }),
      runs,
    );
    expect(bare.agent.stats().pairs.length).toBeLessThanOrEqual(256);
  });

  it('candidate lines: fuzz', () => {
    const part = fc.oneof(
      fc.constantFrom('1', 'udp', 'tcp', '192.0.2.1', '::1', '9', 'typ', 'host', 'tcptype', 'so', ''),
      fc.string({ maxLength: 12 }),
    );
    const line = fc.array(part, { maxLength: 16 }).map((parts) => `candidate:${parts.join(' ')}`);
    fc.assert(
      fc.property(fc.oneof(fc.string({ maxLength: 600 }), line), (text) => {
        try {
          const candidate = parseCandidate(text);
          if (candidate) expect(parseCandidate(formatCandidate(candidate))).toEqual(candidate);
        } catch (error) {
          expect(isClawError(error, 'ICE_CANDIDATE_INVALID')).toBe(true);
        }
      }),
      runs,
    );
  });

  it('candidates survive their line: fuzz', () => {
    const address = fc
      .oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 }))
      .map(addressFromBytes);
    const port = fc.integer({ min: 1, max: 65_535 });
    const candidate: fc.Arbitrary<Candidate> = fc.record({
      foundation: fc.stringMatching(/^[a-z\d+/]{1,32}$/),
      component: fc.constant(1),
      protocol: fc.constant('udp' as const),
      priority: fc.nat(0x7fffffff),
      address,
      port,
      type: fc.constantFrom('host' as const, 'srflx' as const, 'prflx' as const, 'relay' as const),
      related: fc.record({ address, port }),
    });
    fc.assert(
      fc.property(candidate, (each) => {
        expect(parseCandidate(`a=${formatCandidate(each)} generation 0 network-cost 999`)).toEqual(each);
      }),
      runs,
    );
  });

  it('server URLs and addresses: fuzz', () => {
    const text = fc.oneof(
      fc.string({ maxLength: 300 }),
      fc.string({ maxLength: 60 }).map((rest) => `turn:${rest}`),
    );
    fc.assert(
      fc.property(text, (input) => {
        try {
          parseServers([{ urls: input, username: 'u', credential: 'c' }]);
        } catch (error) {
          expect(isClawError(error, 'ICE_SERVER_INVALID')).toBe(true);
        }
        const address = canonicalAddress(input);
        if (address !== undefined) expect(canonicalAddress(address)).toBe(address);
      }),
      runs,
    );
  });

  it('streams of any bytes in any chunks: fuzz', () => {
    fc.assert(
      fc.property(
        fc.constantFrom<StreamFraming>('rfc4571', 'turn'),
        fc.array(bytes(300), { maxLength: 8 }),
        (framing, chunks) => {
          const deframer = new StreamDeframer(framing);
          const total = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
          try {
            let out = 0;
            for (const chunk of chunks) for (const packet of deframer.push(chunk)) out += packet.length;
            expect(out).toBeLessThanOrEqual(total);
          } catch (error) {
            expect(isClawError(error, 'ICE_FRAME_TOO_LARGE')).toBe(true);
          }
        },
      ),
      runs,
    );
  });

  it('packets come out of a stream as they went in, however it is cut: fuzz', () => {
    const channelData = bytes(50).map((data) => {
      const framed = Buffer.alloc(4 + ((data.length + 3) & ~3));
      framed.writeUInt16BE(0x4001, 0);
      framed.writeUInt16BE(data.length, 2);
      framed.set(data, 4);
      return { framed, packet: framed.subarray(0, 4 + data.length) };
    });
    const stun = message.map((packet) => ({ framed: packet, packet }));
    const rfc4571 = bytes(80).map((packet) => ({ framed: frameRfc4571(packet), packet }));
    const check = (framing: StreamFraming, parts: readonly { framed: Buffer; packet: Buffer }[], step: number) => {
      const stream = Buffer.concat(parts.map(({ framed }) => framed));
      const deframer = new StreamDeframer(framing);
      const out: Buffer[] = [];
      for (let at = 0; at < stream.length; at += step) out.push(...deframer.push(stream.subarray(at, at + step)));
      expect(out).toEqual(parts.map(({ packet }) => packet));
    };
    const step = fc.integer({ min: 1, max: 100 });
    const numRuns = Math.ceil(fuzzRuns / 4);
    fc.assert(
      fc.property(fc.array(fc.oneof(channelData, stun), { maxLength: 8 }), step, (parts, size) =>
        check('turn', parts, size),
      ),
      { numRuns },
    );
    fc.assert(
      fc.property(fc.array(rfc4571, { maxLength: 8 }), step, (parts, size) => check('rfc4571', parts, size)),
      { numRuns },
    );
  });

  it('a long stream and a long message cost time in proportion', () => {
    const frame = frameRfc4571(Buffer.alloc(60_000));
    const stream = Buffer.concat(Array.from({ length: 50 }, () => frame));
    const deframer = new StreamDeframer('rfc4571');
    let packets = 0;
    for (let at = 0; at < stream.length; at += 3) packets += deframer.push(stream.subarray(at, at + 3)).length;
    expect(packets).toBe(50);
    const writer = new StunWriter('request', 1, Buffer.alloc(12));
    for (let count = 0; count < 10_000; count += 1) writer.flag(0x8000 + count);
    const long = writer.finish();
    for (let count = 0; count < 10_000; count += 1) expect(decodeStun(long)).toBeUndefined();
  });

  it('mDNS responses: fuzz', () => {
    const label = fc.stringMatching(/^[a-z\d-]{1,40}$/);
    const record = fc.record({
      name: fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.')),
      type: fc.constantFrom(1, 28, 47, 12),
      data: fc.oneof(fc.constant(Buffer.alloc(4, 9)), fc.constant(Buffer.alloc(16, 9)), bytes(20)),
    });
    const response = fc.array(record, { maxLength: 8 }).map((records) => mdnsResponse(records));
    /** Nothing but a head and pointers, which is where a reader could walk in circles. */
    const pointers = fc
      .array(fc.integer({ min: 0xc000, max: 0xc200 }), { maxLength: 250 })
      .map((words) =>
        Buffer.concat([
          Buffer.from('00008400ffffffffffffffff', 'hex'),
          ...words.map((word) => Buffer.of(word >> 8, word & 255)),
        ]),
      );
    fc.assert(
      fc.property(fc.oneof(bytes(300), mutated(response), mutated(pointers)), (packet) => {
        for (const { name, address } of readMdnsAnswers(packet)) {
          expect(name.length).toBeLessThanOrEqual(255);
          expect(canonicalAddress(address)).toBe(address);
        }
      }),
      runs,
    );
  });
});
