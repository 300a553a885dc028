/** What every RtcEngine must do: one suite, run by each implementation's tests. */

import type { RtcDataChannel, RtcDataChannelInit, RtcEngine, RtcPeerConnection } from '@claw/contracts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

/** Makes the engine under test; what the owner's handlers throw goes to `onHandlerError`. */
export type EngineFactory = (onHandlerError: (error: unknown) => void) => RtcEngine;

const CHANNELS: readonly RtcDataChannelInit[] = [
  { negotiated: true, id: 0 },
  { negotiated: true, id: 1 },
  { negotiated: true, id: 2, ordered: false },
  { negotiated: true, id: 3, maxRetransmits: 0 },
  { negotiated: true, id: 4, ordered: false, maxRetransmits: 0 },
];

interface End {
  readonly connection: RtcPeerConnection;
  readonly channels: readonly RtcDataChannel[];
}

/** Two ends with the five channels of the link, made but not introduced to each other. */
function openPair(engine: RtcEngine): readonly [End, End] {
  const open = (): End => {
    const connection = engine.createPeerConnection({});
    return { connection, channels: CHANNELS.map((init) => connection.createDataChannel(`channel ${init.id}`, init)) };
  };
  return [open(), open()];
}

/** Exchanges offer and answer and resolves when every channel is open. @throws Error when a connection ends before. */
export async function connectPair(offerer: End, answerer: End): Promise<void> {
  const opened = [...offerer.channels, ...answerer.channels].map(
    (channel) =>
      new Promise<void>((resolve) => {
        channel.onopen = resolve;
      }),
  );
  offerer.connection.onicecandidate = (candidate) => {
    if (candidate) void answerer.connection.addIceCandidate(candidate).catch(() => undefined);
  };
  answerer.connection.onicecandidate = (candidate) => {
    if (candidate) void offerer.connection.addIceCandidate(candidate).catch(() => undefined);
  };
  await answerer.connection.setRemoteDescription(await offerer.connection.setLocalDescription());
  await offerer.connection.setRemoteDescription(await answerer.connection.setLocalDescription());
  const ended = new AbortController();
  try {
    await Promise.race([Promise.all(opened), failure([offerer.connection, answerer.connection], ended.signal)]);
  } finally {
    ended.abort();
  }
}

/** Rejects when a connection ends before it is up, so that a test need not wait for its time to run out. */
async function failure(connections: readonly RtcPeerConnection[], signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const lost = connections.find(({ connectionState: state }) => state === 'failed' || state === 'closed');
    if (lost) throw new Error(`the set-up ended ${lost.connectionState}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** `retry`: how often a test may be run again, for an engine known to fail some set-ups. Default: the run's. */
export function peerConnectionCompliance(
  name: string,
  createEngine: EngineFactory,
  options: { readonly retry?: number } = {},
): void {
  describe(`${name} as a peer connection`, options, () => {
    let handlerErrors: unknown[];
    let engine: RtcEngine;
    let left: End;
    let right: End;

    beforeEach(() => {
      handlerErrors = [];
      engine = createEngine((error) => handlerErrors.push(error));
      [left, right] = openPair(engine);
    });

    afterEach(() => {
      left.connection.close();
      right.connection.close();
    });

    test('it connects, and tells that before its channels open', async () => {
      const told: string[] = [];
      left.connection.onconnectionstatechange = () => told.push(left.connection.connectionState);
      const first = left.channels[0]!;
      expect([left.connection.connectionState, first.readyState]).toEqual(['new', 'connecting']);
      await connectPair(left, right);
      told.push('open');
      expect(told.filter((state) => state !== 'connecting')).toEqual(['connected', 'open']);
      for (const channel of [...left.channels, ...right.channels]) expect(channel.readyState).toBe('open');
      expect(left.connection.localDescription?.type).toBe('offer');
      expect(right.connection.remoteDescription?.type).toBe('offer');
      expect(left.connection.remoteDescription?.type).toBe('answer');
      expect(right.connection.localDescription?.type).toBe('answer');
      expect(left.channels.map((channel) => channel.id)).toEqual([0, 1, 2, 3, 4]);
    });

    test.each(CHANNELS)('messages of 1 B to 256 KiB pass both ways on channel $id', async ({ id }) => {
      await connectPair(left, right);
      for (const [from, to] of [
        [left.channels[id]!, right.channels[id]!],
        [right.channels[id]!, left.channels[id]!],
      ] as const) {
        for (const size of [1, 1200, 16_384, 65_536, 262_144]) {
          const message = Buffer.alloc(size, `${size} `);
          const received = nextMessages(to, 1);
          from.send(message);
          expect(Buffer.compare((await received)[0]!, message)).toBe(0);
        }
      }
    });

    test.each([0, 1])('ordered reliable channel %i keeps order and loses nothing', async (id) => {
      await connectPair(left, right);
      const received = nextMessages(right.channels[id]!, 3000);
      sendNumbered(left.channels[id]!, 3000);
      expect((await received).map((message) => message.readUInt32BE())).toEqual(
        Array.from({ length: 3000 }, (_, n) => n),
      );
    });

    test('unordered reliable channel loses and repeats nothing', async () => {
      await connectPair(left, right);
      const received = nextMessages(right.channels[2]!, 3000);
      sendNumbered(left.channels[2]!, 3000);
      expect(new Set((await received).map((message) => message.readUInt32BE())).size).toBe(3000);
    });

    test('ordered channel that may lose keeps order', async () => {
      await connectPair(left, right);
      const numbers: number[] = [];
      right.channels[3]!.onmessage = (data) => numbers.push(Buffer.from(data).readUInt32BE());
      for (let round = 0; numbers.length < 20; round += 1) {
        sendNumbered(left.channels[3]!, 10, 10 * round);
        await drained(left.channels[3]!);
      }
      expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    });

    test('bytes may be reused once send has returned', async () => {
      await connectPair(left, right);
      const received = nextMessages(right.channels[0]!, 2);
      const bytes = Buffer.from('first');
      left.channels[0]!.send(bytes);
      bytes.write('other');
      left.channels[0]!.send(bytes.subarray(1, 3));
      expect((await received).map(String)).toEqual(['first', 'th']);
    });

    test('the buffered amount grows, falls to zero, and the low event comes at its threshold', async () => {
      await connectPair(left, right);
      const channel = left.channels[1]!;
      channel.bufferedAmountLowThreshold = 100_000;
      expect(channel.bufferedAmountLowThreshold).toBe(100_000);
      const amounts: number[] = [];
      const low = new Promise<void>((resolve) => {
        channel.onbufferedamountlow = () => {
          amounts.push(channel.bufferedAmount);
          resolve();
        };
      });
      const received = nextMessages(right.channels[1]!, 300);
      for (let count = 0; count < 300; count += 1) channel.send(Buffer.alloc(16_384));
      expect(channel.bufferedAmount).toBeGreaterThan(100_000);
      await low;
      expect(amounts[0]).toBeLessThanOrEqual(100_000);
      await received;
      expect(channel.bufferedAmount).toBe(0);
    });

    test('sending before the opening or after the close throws a code', async () => {
      expect(() => left.channels[0]!.send(Buffer.from('x'))).toThrow(
        expect.objectContaining({ code: 'ENGINE_FAILED' }),
      );
      await connectPair(left, right);
      left.connection.close();
      expect(left.channels[0]!.readyState).toBe('closed');
      expect(() => left.channels[0]!.send(Buffer.from('x'))).toThrow(
        expect.objectContaining({ code: 'ENGINE_CLOSED' }),
      );
    });

    test('a message larger than the peer takes throws and leaves the channel open', async () => {
      await connectPair(left, right);
      expect(() => left.channels[0]!.send(Buffer.alloc(262_145))).toThrow(
        expect.objectContaining({ code: 'ENGINE_FAILED' }),
      );
      const received = nextMessages(right.channels[0]!, 1);
      left.channels[0]!.send(Buffer.from('still here'));
      expect(String((await received)[0])).toBe('still here');
    });

    test.each(['offerer', 'answerer'])('the %s closing is seen by the other, channels first', async (who) => {
      await connectPair(left, right);
      const [closer, other] = who === 'offerer' ? [left, right] : [right, left];
      const told: string[] = [];
      const ended = new Promise<void>((resolve) => {
        other.connection.onconnectionstatechange = () => {
          told.push(other.connection.connectionState);
          if (other.connection.connectionState === 'closed') resolve();
        };
      });
      for (const channel of other.channels) channel.onclose = () => told.push(`channel ${channel.id}`);
      closer.connection.close();
      await ended;
      expect(told.filter((event) => event.startsWith('channel')).toSorted()).toEqual(
        CHANNELS.map(({ id }) => `channel ${id}`),
      );
      expect(told.at(-1)).toBe('closed');
      expect(other.channels.every((channel) => channel.readyState === 'closed')).toBe(true);
    });

    test('a channel closed by one end closes at the other, and the rest stay open', async () => {
      await connectPair(left, right);
      const closed = new Promise<void>((resolve) => {
        right.channels[2]!.onclose = resolve;
      });
      const own = new Promise<void>((resolve) => {
        left.channels[2]!.onclose = resolve;
      });
      left.channels[2]!.close();
      left.channels[2]!.close();
      await Promise.all([closed, own]);
      expect([left.channels[2]!.readyState, right.channels[2]!.readyState]).toEqual(['closed', 'closed']);
      const received = nextMessages(right.channels[0]!, 1);
      left.channels[0]!.send(Buffer.from('x'));
      await received;
    });

    test('closing is idempotent, and no event comes after it', async () => {
      await connectPair(left, right);
      const events: string[] = [];
      left.connection.onconnectionstatechange = () => events.push('state');
      left.connection.onicecandidate = () => events.push('candidate');
      for (const channel of left.channels) {
        channel.onmessage = () => events.push('message');
        channel.onclose = () => events.push('close');
        channel.onbufferedamountlow = () => events.push('low');
        channel.onerror = () => events.push('error');
      }
      const ended = new Promise<void>((resolve) => {
        right.connection.onconnectionstatechange = () => right.connection.connectionState === 'closed' && resolve();
      });
      sendNumbered(right.channels[0]!, 100);
      sendNumbered(left.channels[1]!, 100);
      left.connection.close();
      left.connection.close();
      const before = events.length;
      await ended;
      expect(events.length).toBe(before);
      expect(left.connection.connectionState).toBe('closed');
      await expect(left.connection.setLocalDescription()).rejects.toMatchObject({ code: 'ENGINE_CLOSED' });
      await expect(left.connection.addIceCandidate({ candidate: '', sdpMid: null })).rejects.toMatchObject({
        code: 'ENGINE_CLOSED',
      });
      expect(() => left.connection.createDataChannel('x', { negotiated: true, id: 9 })).toThrow(
        expect.objectContaining({ code: 'ENGINE_CLOSED' }),
      );
    });

    test('closing inside a handler is obeyed at once', async () => {
      await connectPair(left, right);
      let count = 0;
      const ended = new Promise<void>((resolve) => {
        left.connection.onconnectionstatechange = () => left.connection.connectionState === 'closed' && resolve();
      });
      right.channels[0]!.onmessage = () => {
        count += 1;
        right.connection.close();
      };
      sendNumbered(left.channels[0]!, 50);
      await ended;
      expect(count).toBe(1);
    });

    test('what the owner’s handlers throw is reported and ends nothing', async () => {
      const fail = (where: string) => () => {
        throw new Error(where);
      };
      left.connection.onconnectionstatechange = fail('state');
      await connectPair(left, right);
      right.channels[0]!.onmessage = fail('message');
      right.channels[2]!.onclose = fail('close');
      left.channels[0]!.send(Buffer.from('x'));
      left.channels[2]!.close();
      const received = nextMessages(right.channels[1]!, 1);
      const messages = () => new Set(handlerErrors.map((error) => (error as Error).message));
      // There are several states.
      await until(() => messages().size >= 3);
      left.channels[1]!.send(Buffer.from('still here'));
      await received;
      expect(messages()).toEqual(new Set(['state', 'message', 'close']));
    });

    test.each([
      ['nothing', ''],
      ['garbage', 'garbage\r\n'],
      ['a description without a section', 'v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n'],
      ['a description of audio', 'v=0\r\ns=-\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n'],
      ['a megabyte', `v=0\r\n${'a=x\r\n'.repeat(200_000)}`],
      ['bytes outside ASCII', 'v=0\r\ns=\u0000\ud800\r\n'],
    ])('%s is refused as a description, and the true one still taken', async (_, sdp) => {
      const refusal = { code: 'ENGINE_DESCRIPTION_INVALID' };
      await expect(right.connection.setRemoteDescription({ type: 'offer', sdp })).rejects.toMatchObject(refusal);
      await expect(right.connection.setRemoteDescription({ type: 'answer', sdp })).rejects.toMatchObject(refusal);
      await connectPair(left, right);
    });

    test('an offer where an answer is due is refused', async () => {
      const offer = await left.connection.setLocalDescription();
      await expect(left.connection.setRemoteDescription(offer)).rejects.toMatchObject({
        code: 'ENGINE_DESCRIPTION_INVALID',
      });
    });

    test.each([
      ['cut short', 'candidate:'],
      ['with a port beyond 16 bits', 'candidate:1 1 UDP 1 127.0.0.1 999999 typ host'],
      ['of 100 KB', 'x'.repeat(100_000)],
      ['of two lines', 'candidate:1 1 UDP 1 127.0.0.1 9 typ host\r\na=b:c'],
    ])('a candidate %s is refused', async (_, candidate) => {
      await expect(right.connection.addIceCandidate({ candidate, sdpMid: '0' })).rejects.toMatchObject({
        code: 'ENGINE_DESCRIPTION_INVALID',
      });
    });

    test('candidates that come before the description wait for it', async () => {
      const opened = new Promise<void>((resolve) => {
        right.channels[0]!.onopen = resolve;
      });
      const candidates: string[] = [];
      const gathered = new Promise<void>((resolve) => {
        left.connection.onicecandidate = (candidate) => (candidate ? candidates.push(candidate.candidate) : resolve());
      });
      const offer = await left.connection.setLocalDescription();
      await gathered;
      expect(candidates.length).toBeGreaterThan(0);
      for (const candidate of candidates) await right.connection.addIceCandidate({ candidate, sdpMid: '0' });
      await right.connection.addIceCandidate({ candidate: '', sdpMid: null });
      const withoutCandidates = offer.sdp.replace(/a=(?:candidate|end-of-candidates).*\r\n/g, '');
      await right.connection.setRemoteDescription({ type: 'offer', sdp: withoutCandidates });
      await left.connection.setRemoteDescription(await right.connection.setLocalDescription());
      await opened;
    });

    test('the path in use is told once there is one, with the bytes that it carried', async () => {
      expect(await left.connection.getPathStats()).toBeUndefined();
      await connectPair(left, right);
      const received = nextMessages(right.channels[0]!, 1);
      left.channels[0]!.send(Buffer.alloc(10_000));
      await received;
      const stats = await left.connection.getPathStats();
      expect(stats?.bytesSent).toBeGreaterThanOrEqual(10_000);
      expect(stats?.local.candidateType).toMatch(/^(?:host|prflx)$/);
      expect(stats?.remote.protocol).toBe('udp');
    });

    test('a channel id that is taken is refused', () => {
      expect(() => left.connection.createDataChannel('twice', CHANNELS[0]!)).toThrow(RangeError);
    });
  });
}

/** The next `count` messages of a channel, as buffers. */
function nextMessages(channel: RtcDataChannel, count: number): Promise<Buffer[]> {
  return new Promise((resolve) => {
    const messages: Buffer[] = [];
    channel.onmessage = (data) => {
      messages.push(Buffer.from(data));
      if (messages.length === count) resolve(messages);
    };
  });
}

function sendNumbered(channel: RtcDataChannel, count: number, first = 0): void {
  for (let number = first; number < first + count; number += 1) {
    const message = Buffer.alloc(100);
    message.writeUInt32BE(number);
    channel.send(message);
  }
}

async function drained(channel: RtcDataChannel): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  await until(() => channel.bufferedAmount === 0);
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}
