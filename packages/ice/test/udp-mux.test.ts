/** Whose a packet of a shared socket is. */

import { fuzzRuns } from '@claw/testkit';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeCheck, encodeCheckSuccess } from '../src/agent/check-messages.ts';
import type { IceSocket, SocketEvents, TransportAddress } from '../src/index.ts';
import { decodeStun } from '../src/stun/message.ts';
import { peekStun } from '../src/stun/peek.ts';
import { UdpMux } from '../src/transport/udp-mux.ts';

const LOCAL = { address: '192.0.2.1', port: 5000 };
const PEER = { address: '192.0.2.7', port: 7000 };
const STRANGER = { address: '192.0.2.66', port: 6666 };
const PASSWORD = 'p'.repeat(24);
const RECORD = Buffer.from([0x2c, 1, 2, 3]);
const QUERY = Buffer.from('d1:ad2:id20:');

function check(to: string, id = 1): Buffer {
  return encodeCheck({
    id: Buffer.alloc(12, id),
    local: { usernameFragment: 'them', password: PASSWORD },
    remote: { usernameFragment: to, password: PASSWORD },
    priority: 1,
    isControlling: true,
    tieBreaker: 1n,
    nominate: false,
    nomination: undefined,
  });
}

function success(request: Buffer): Buffer {
  return encodeCheckSuccess(decodeStun(request)!, LOCAL, { usernameFragment: 'them', password: PASSWORD });
}

class Fixture {
  readonly sent: { bytes: Uint8Array; remote: TransportAddress }[] = [];
  ended = 0;
  events!: SocketEvents;
  readonly mux = new UdpMux(
    (events) => {
      this.events = events;
      return { send: (bytes, remote) => this.sent.push({ bytes, remote }), close: () => {} };
    },
    () => (this.ended += 1),
  );

  join(...fragments: string[]) {
    return this.#listen((events) => {
      const socket = this.mux.join(events);
      for (const fragment of fragments) socket.identify?.(fragment);
      return socket;
    });
  }

  joinOther() {
    return this.#listen((events) => this.mux.joinOther(events));
  }

  hear(bytes: Uint8Array, remote: TransportAddress = PEER): void {
    this.events.onBytes(bytes, remote);
  }

  #listen(open: (events: SocketEvents) => IceSocket) {
    const user = { heard: [] as Uint8Array[], opened: [] as TransportAddress[], failures: 0, socket: {} as IceSocket };
    user.socket = open({
      onOpen: (local) => user.opened.push(local),
      onBytes: (bytes) => user.heard.push(bytes),
      onFailure: () => (user.failures += 1),
    });
    return user;
  }
}

describe('a shared socket', () => {
  it('hands a check to whom it names, by the present username fragment or the one before', () => {
    const all = new Fixture();
    const [a, b] = [all.join('aaaa'), all.join('bbbb')];
    b.socket.identify?.('b2b2');
    all.hear(check('aaaa'));
    all.hear(check('bbbb'));
    all.hear(check('b2b2'));
    expect([a.heard.length, b.heard.length, all.mux.dropped]).toEqual([1, 2, 0]);
    b.socket.identify?.('b3b3');
    all.hear(check('bbbb'));
    expect([b.heard.length, all.mux.dropped]).toEqual([2, 1]);
  });

  it('hands an answer to who asked, once, wherever it comes from', () => {
    const all = new Fixture();
    const [a, b] = [all.join('aaaa'), all.join('bbbb')];
    const [first, second] = [check('them', 1), check('them', 2)];
    a.socket.send(first, PEER, undefined);
    b.socket.send(second, PEER, undefined);
    all.hear(success(second), STRANGER);
    all.hear(success(first));
    all.hear(success(first));
    expect([a.heard.length, b.heard.length, all.mux.dropped]).toEqual([1, 1, 1]);
  });

  it('hands records to all who have sent to that address, and to nobody else', () => {
    const all = new Fixture();
    const [a, b, c] = [all.join('aaaa'), all.join('bbbb'), all.join('cccc')];
    a.socket.send(check('them', 1), PEER, undefined);
    b.socket.send(RECORD, PEER, undefined);
    c.socket.send(RECORD, STRANGER, undefined);
    all.hear(RECORD);
    expect([a, b, c].map(({ heard }) => heard.length)).toEqual([1, 1, 0]);
    void b.socket.close();
    all.hear(RECORD);
    expect([a, b, c].map(({ heard }) => heard.length)).toEqual([2, 1, 0]);
  });

  it('learns nothing from strangers: neither from what they send nor from what they are answered', () => {
    const all = new Fixture();
    const a = all.join('aaaa');
    all.hear(check('aaaa'), STRANGER);
    a.socket.send(success(check('aaaa')), STRANGER, undefined);
    all.hear(RECORD, STRANGER);
    all.hear(check('nobody'), STRANGER);
    all.hear(success(check('aaaa', 9)), STRANGER);
    all.hear(Buffer.alloc(0), STRANGER);
    expect([a.heard.length, all.mux.dropped]).toEqual([1, 4]);
  });

  it('hands what is neither STUN nor DTLS to the other protocols, and their packets out', () => {
    const all = new Fixture();
    const [a, dht] = [all.join('aaaa'), all.joinOther()];
    a.socket.send(RECORD, PEER, undefined);
    all.hear(QUERY);
    all.hear(RECORD);
    dht.socket.send(QUERY, STRANGER, undefined);
    expect([a.heard.length, dht.heard.length, all.sent.length]).toEqual([1, 1, 2]);
    void dht.socket.close();
    all.hear(QUERY);
    expect(all.mux.dropped).toBe(1);
  });

  it('tells everybody once that it is open, those who come later too, and once that it failed', async () => {
    const all = new Fixture();
    const early = all.join('aaaa');
    all.events.onOpen(LOCAL);
    const late = all.join('bbbb');
    const gone = all.join('cccc');
    void gone.socket.close();
    await Promise.resolve();
    expect([early, late, gone].map(({ opened }) => opened)).toEqual([[LOCAL], [LOCAL], []]);
    all.events.onFailure();
    const after = all.join('dddd');
    await Promise.resolve();
    expect([early, late, gone, after].map(({ failures }) => failures)).toEqual([1, 1, 0, 1]);
    expect(all.ended).toBe(1);
    all.hear(check('aaaa'));
    expect(early.heard).toEqual([]);
  });

  it('takes any bytes from anybody (fuzz)', () => {
    const all = new Fixture();
    const a = all.join('aaaa');
    const real = check('aaaa');
    const damaged = fc.tuple(fc.nat(real.length - 1), fc.nat(255), fc.nat(real.length)).map(([at, value, length]) =>
      Buffer.from(real)
        .fill(value, at, at + 1)
        .subarray(0, length),
    );
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 80 }), damaged), (bytes) => {
        const before = a.heard.length;
        all.hear(bytes, STRANGER);
        const isOurs = peekStun(bytes);
        if (a.heard.length > before) expect(isOurs).toMatchObject({ class: 'request', usernameFragment: 'aaaa' });
      }),
      { numRuns: fuzzRuns },
    );
  });

  it('reads of a message what the full decoder reads', () => {
    const request = check('aaaa', 7);
    expect(peekStun(request)).toEqual({
      class: 'request',
      transaction: '\u0007'.repeat(12),
      usernameFragment: 'aaaa',
    });
    expect(peekStun(success(request))).toEqual({ class: 'response', transaction: '\u0007'.repeat(12) });
  });
});
