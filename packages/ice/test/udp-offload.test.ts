/** Packets joined by the kernel, and a socket that lets it join and cut them. */

import { fuzzRuns, until } from '@claw/testkit';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UdpSocket } from '../src/node/udp-socket.ts';
import { METHOD } from '../src/stun/constants.ts';
import { StunWriter } from '../src/stun/encode.ts';
import { cutJoined } from '../src/stun/joined.ts';

const stun = (text: string) =>
  new StunWriter('request', METHOD.binding, Buffer.alloc(12)).text(6, text).finishWithFingerprint();

/** A record of DTLS 1.3 with a length. */
function record(content: Buffer): Buffer {
  const header = Buffer.from([0x2f, 0, 0, 0, 0]);
  header.writeUInt16BE(content.length, 3);
  return Buffer.concat([header, content]);
}

function record12(content: Buffer): Buffer {
  const header = Buffer.alloc(13);
  header[0] = 23;
  header.writeUInt16BE(0xfefd, 1);
  header.writeUInt16BE(content.length, 11);
  return Buffer.concat([header, content]);
}

describe('joined packets', () => {
  it('come apart as STUN messages and runs of records', () => {
    const [a, b, c] = [record(Buffer.alloc(40, 1)), record12(Buffer.alloc(7, 2)), record(Buffer.alloc(0))];
    const [ping, pong] = [stun('a:b'), stun('longer:name')];
    expect(cutJoined(Buffer.concat([a, b, ping, pong, c]))).toEqual([Buffer.concat([a, b]), ping, pong, c]);
    expect(cutJoined(ping)).toEqual([ping]);
  });

  it('are all there whatever they are, and in order (fuzz)', () => {
    const bytes = fc.uint8Array({ maxLength: 300 });
    const piece = fc.oneof(
      bytes.map((each) => record(Buffer.from(each))),
      bytes.map((each) => record12(Buffer.from(each))),
      fc.string({ maxLength: 40 }).map(stun),
      bytes.map((each) => Buffer.from(each)),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
        const joined = Buffer.concat(pieces);
        const cut = cutJoined(joined);
        expect(Buffer.concat(cut)).toEqual(joined);
        expect(cut.every(({ length }) => length > 0)).toBe(true);
      }),
      { numRuns: fuzzRuns },
    );
  });
});

it('a socket that moves much delivers every packet, whole and once, of any sizes', async () => {
  const heard = new Map<number, number>();
  let failures = 0;
  const open = (onBytes: (bytes: Uint8Array) => void) => {
    let port = 0;
    const events = { onOpen: (local: { port: number }) => (port = local.port), onBytes, onFailure: () => failures++ };
    const socket = new UdpSocket('127.0.0.1', 0, events);
    return { socket, port: () => port };
  };
  const receiver = open((bytes) => {
    // As DTLS would: record by record.
    for (let at = 0; at < bytes.length; ) {
      const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      const length = view.readUInt16BE(at + 3);
      const number = view.readUInt32BE(at + 5);
      expect(view.subarray(at + 9, at + 5 + length).every((byte) => byte === (number & 255))).toBe(true);
      heard.set(number, (heard.get(number) ?? 0) + 1);
      at += 5 + length;
    }
  });
  const sender = open(() => {});
  receiver.socket.allowJoining();
  await until(() => sender.port() > 0 && receiver.port() > 0, 'two open sockets');
  const remote = { address: '127.0.0.1', port: receiver.port() };
  let sent = 0;
  const sizes = [1400, 1400, 1400, 1400, 900, 60, 1400, 9000, 1400, 16_000, 700];
  for (let turn = 0; turn < 120; turn += 1) {
    for (let index = 0; index < 22; index += 1) {
      const content = Buffer.alloc(sizes[(turn + index) % sizes.length] as number, sent & 255);
      content.writeUInt32BE(sent++, 0);
      sender.socket.send(record(content), remote, undefined);
    }
    const wanted = sent;
    await until(() => heard.size >= wanted, `${wanted} packets, of which ${heard.size} came`);
  }
  expect([...heard.values()].every((times) => times === 1)).toBe(true);
  expect(failures).toBe(0);
  sender.socket.close();
  receiver.socket.close();
});
