import { expect, test } from 'vitest';
import { Pair } from './pair.ts';

test('a channel opened by one end appears at the other with its label, protocol and reliability', () => {
  const pair = new Pair({ delayMs: 10 }).connect();
  const channel = pair.a.open({ label: 'größe', protocol: 'p', isOrdered: false, maxRetransmits: 3, priority: 512 });
  expect(channel.state).toBe('open');
  expect(channel.id).toBe(0);
  pair.run(100);
  expect(pair.b.opened).toMatchObject([
    { id: 0, label: 'größe', protocol: 'p', isOrdered: false, maxRetransmits: 3, priority: 512, state: 'open' },
  ]);
  expect(pair.b.open().id).toBe(1);
});

test('text, bytes and empty messages arrive as what they are', () => {
  const pair = new Pair({ delayMs: 10 });
  const early = pair.a.open({ label: 'early' });
  pair.connect();
  for (const data of ['hällo', '', Buffer.of(1, 2, 3), Buffer.alloc(0)]) pair.a.send(early, data);
  expect(early.bufferedAmount).toBe(0);
  pair.run(200);
  expect(pair.b.messages.map(({ data, isText }) => [data.toString(), isText])).toEqual([
    ['hällo', true],
    ['', true],
    ['\u0001\u0002\u0003', false],
    ['', false],
  ]);
});

test('a message of 16 MiB arrives whole', () => {
  const pair = new Pair({ delayMs: 5 }, { maxMessageBytes: 16 * 1024 * 1024 }).connect();
  const channel = pair.a.open();
  const data = Buffer.alloc(16 * 1024 * 1024);
  for (let at = 0; at < data.length; at += 4096) data.writeUInt32BE(at, at);
  pair.a.send(channel, data);
  expect(channel.bufferedAmount).toBeGreaterThan(0);
  expect(() => pair.a.send(channel, Buffer.alloc(16 * 1024 * 1024 + 1))).toThrow(/16777217 bytes/);
  pair.run(60_000, () => pair.b.messages.length > 0);
  expect(pair.b.messages[0]!.data.equals(data)).toBe(true);
  expect(channel.bufferedAmount).toBe(0);
});

test('bufferedAmount counts exactly what was not yet sent, and its low mark is told once', () => {
  const pair = new Pair({ delayMs: 50, rateMbps: 10 }).connect();
  const channel = pair.a.open();
  pair.run(200);
  let low = 0;
  channel.bufferedAmountLowThreshold = 100_000;
  channel.onBufferedAmountLow = () => low++;
  for (let sent = 0; sent < 10; sent++) channel.send(Buffer.alloc(100_000), pair.simulation.nowMs);
  expect(channel.bufferedAmount).toBe(1_000_000);
  pair.a.settle();
  const { bufferedAmount } = channel;
  expect(bufferedAmount).toBeLessThan(1_000_000);
  expect(low).toBe(0);
  pair.run(20_000);
  expect(channel.bufferedAmount).toBe(0);
  expect(low).toBe(1);
  expect(pair.b.messages).toHaveLength(10);
});

test.each(['opener', 'other end'])(
  'a channel closed by the %s closes at both after its messages, and its id is free',
  (who) => {
    const pair = new Pair({ delayMs: 10, loss: 0.1, seed: 5 }).connect();
    const channel = pair.a.open({ label: 'x' });
    pair.run(500);
    const other = pair.b.opened[0]!;
    const events: string[] = [];
    other.onClosing = () => events.push('b closing');
    channel.onClosing = () => events.push('a closing');
    channel.onClose = () => events.push('a');
    other.onClose = () => events.push('b');
    const [end, closer] = who === 'opener' ? [pair.a, channel] : ([pair.b, other] as const);
    for (let sent = 0; sent < 20; sent++) end.send(closer, Buffer.alloc(5000, sent));
    closer.close(pair.simulation.nowMs);
    end.settle();
    expect(closer.state).toBe('closing');
    expect(() => closer.send('late', pair.simulation.nowMs)).toThrow(/closing/);
    pair.run(20_000, () => channel.state === 'closed' && other.state === 'closed');
    expect((who === 'opener' ? pair.b : pair.a).messages).toHaveLength(20);
    expect(events.toSorted()).toEqual(who === 'opener' ? ['a', 'b', 'b closing'] : ['a', 'a closing', 'b']);
    const again = pair.a.open({ id: 0, label: 'again' });
    pair.a.send(again, 'new');
    pair.run(5000);
    expect(pair.b.messages.at(-1)!.data.toString()).toBe('new');
  },
);

test('negotiated channels need no OPEN', () => {
  const pair = new Pair({ delayMs: 10 });
  const a = pair.a.open({ isNegotiated: true, id: 7 });
  pair.b.open({ isNegotiated: true, id: 7 });
  pair.connect();
  pair.a.send(a, 'hi');
  pair.run(100);
  expect(pair.b.opened).toEqual([]);
  expect(pair.b.messages.map(({ data }) => data.toString())).toEqual(['hi']);
});

test('1,000 channels carry a message each, both ways', () => {
  const pair = new Pair({ delayMs: 10 }).connect();
  const channels = Array.from({ length: 1000 }, (_, at) => pair.a.open({ label: String(at) }));
  pair.run(1000);
  expect(pair.b.opened).toHaveLength(1000);
  for (const channel of channels) pair.a.send(channel, `to ${channel.id}`);
  for (const channel of pair.b.opened) pair.b.send(channel, `from ${channel.id}`);
  pair.run(2000);
  expect(pair.b.messages.every(({ channel, data }) => data.toString() === `to ${channel.id}`)).toBe(true);
  expect(pair.a.messages.every(({ channel, data }) => data.toString() === `from ${channel.id}`)).toBe(true);
  expect([pair.a.messages.length, pair.b.messages.length]).toEqual([1000, 1000]);
});

test('channels take no ids that the peer has no streams for', () => {
  const pair = new Pair({ delayMs: 5 });
  const [a, b] = [pair.a.association, pair.b.association];
  const early = Array.from({ length: 12 }, (_, at) => pair.a.open({ label: `early ${at}` }));
  const agreed = [5, 25].map((id) => pair.a.open({ isNegotiated: true, id }));
  // Twenty streams each way, as its INIT would say.
  const few = (init: Buffer) => {
    init.writeUInt16BE(20, 12);
    init.writeUInt16BE(20, 14);
    return init;
  };
  a.connect(0, few(b.localInit));
  b.connect(0, a.localInit);
  pair.a.settle();
  pair.run(200);
  expect(early.map(({ id }) => id)).toEqual([0, 2, 4, 6, 8, 10, 12, 14, 16, 18, undefined, undefined]);
  expect(early.map(({ state }) => state).slice(9)).toEqual(['open', 'closed', 'closed']);
  expect(agreed.map(({ state }) => state)).toEqual(['open', 'closed']);
  expect(() => pair.a.open()).toThrow(expect.objectContaining({ code: 'SCTP_NO_STREAM_ID' }));
  expect(() => pair.a.open({ isNegotiated: true, id: 20 })).toThrow(/none of the peer's/);
  early[3]?.close(pair.simulation.nowMs);
  pair.a.settle();
  pair.run(200);
  expect(pair.a.open().id).toBe(6);
});

test('a channel closed before the association is up never opens, and its id is free', () => {
  const pair = new Pair({ delayMs: 5 });
  const closed = [pair.a.open(), pair.a.open({ isNegotiated: true, id: 0 })];
  for (const channel of closed) channel.close(0);
  expect(closed.map(({ state }) => state)).toEqual(['closed', 'closed']);
  const again = pair.a.open({ isNegotiated: true, id: 0 });
  pair.connect();
  expect([...closed, again].map(({ state }) => state)).toEqual(['closed', 'closed', 'open']);
  expect(Array.from({ length: 3 }, () => pair.a.open().id)).toEqual([2, 4, 6]);
});

test('a paused channel stops the sender at the receive window, and nothing is lost', () => {
  const pair = new Pair({ delayMs: 5 }, { receiveWindowBytes: 200_000, maxMessageBytes: 65_536 }).connect();
  const channel = pair.a.open();
  pair.run(100);
  pair.b.opened[0]!.pause();
  for (let sent = 0; sent < 100; sent++) pair.a.send(channel, Buffer.alloc(16_384, sent));
  pair.run(120_000);
  expect(pair.a.association.state).toBe('connected');
  const { heldBytes } = pair.b.association.statistics;
  expect(heldBytes).toBeGreaterThanOrEqual(190_000);
  expect(heldBytes).toBeLessThan(200_000 + 2 * 65_536 + 20_000);
  expect(channel.bufferedAmount).toBeGreaterThan(1_200_000);
  pair.b.opened[0]!.resume(pair.simulation.nowMs);
  pair.b.settle();
  pair.run(2000, () => pair.b.messages.length === 100);
  expect(pair.b.messages.map(({ data }) => data[0])).toEqual(Array.from({ length: 100 }, (_, at) => at));
  expect(pair.b.association.statistics.heldBytes).toBe(0);
});

test.each([
  ['one end', ['a']],
  ['both ends', ['a', 'b']],
] as const)('many channels closed by %s are reset once each way', (_, closers) => {
  const pair = new Pair({ delayMs: 10 }).connect();
  const channels = Array.from({ length: 300 }, (_unused, at) => pair.a.open({ label: String(at) }));
  pair.run(500);
  const resets = { a: [] as number[], b: [] as number[] };
  for (const [end, link] of [
    ['a', pair.forward],
    ['b', pair.backward],
  ] as const) {
    link.filter = (packet) => {
      resets[end].push(...resetStreams(packet));
      return true;
    };
  }
  const ends = { a: channels, b: [...pair.b.opened] };
  for (const closer of closers) {
    for (const channel of ends[closer]) channel.close(pair.simulation.nowMs);
    pair[closer].settle();
  }
  pair.run(2000);
  const ids = channels.map(({ id }) => id);
  expect([...channels, ...ends.b].every(({ state }) => state === 'closed')).toBe(true);
  for (const end of ['a', 'b'] as const) expect(resets[end].toSorted((x, y) => x - y)).toEqual(ids);
});

test('a stream is reset once its messages are acknowledged, so that no peer has to put it off', () => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const pair = new Pair({ delayMs: 10, loss: 0.1, seed }).connect();
    const channel = pair.a.open({ label: 'x' });
    pair.run(500);
    const answers: number[] = [];
    pair.backward.filter = (packet) => {
      for (let at = 12; at + 4 <= packet.length; at += (packet.readUInt16BE(at + 2) + 3) & ~3) {
        if (packet[at] === 130 && packet.readUInt16BE(at + 4) === 16) answers.push(packet.readUInt32BE(at + 12));
      }
      return true;
    };
    for (let sent = 0; sent < 20; sent += 1) pair.a.send(channel, Buffer.alloc(5000, sent));
    channel.close(pair.simulation.nowMs);
    pair.a.settle();
    pair.run(20_000, () => channel.state === 'closed');
    expect(channel.state).toBe('closed');
    expect(pair.b.messages).toHaveLength(20);
    expect(new Set(answers)).toEqual(new Set([1]));
  }
});

/** The streams of the outgoing reset requests (RFC 6525 §4.1) of a packet. */
function resetStreams(packet: Buffer): number[] {
  const streams: number[] = [];
  for (let at = 12; at + 4 <= packet.length; at += (packet.readUInt16BE(at + 2) + 3) & ~3) {
    const chunk = packet.subarray(at, at + packet.readUInt16BE(at + 2));
    if (chunk[0] !== 130) continue;
    for (let start = 4; start + 4 <= chunk.length; start += (chunk.readUInt16BE(start + 2) + 3) & ~3) {
      const parameter = chunk.subarray(start, start + chunk.readUInt16BE(start + 2));
      if (parameter.readUInt16BE(0) !== 13) continue;
      for (let place = 16; place + 2 <= parameter.length; place += 2) streams.push(parameter.readUInt16BE(place));
    }
  }
  return streams;
}
