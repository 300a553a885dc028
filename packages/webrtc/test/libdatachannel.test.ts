import type { RtcEngine } from '@claw/contracts';
import { createNodeDataChannelEngine } from '@claw/libdatachannel';
import { connectPair } from '@claw/testkit';
import { describe, expect, it } from 'vitest';
import { createWebrtcEngine } from '../src/index.ts';

const INITS = [
  { negotiated: true, id: 0 },
  { negotiated: true, id: 1, ordered: false },
  { negotiated: true, id: 2, ordered: false, maxRetransmits: 3 },
] as const;
const ours = createWebrtcEngine({ addresses: ['127.0.0.1'] });
const theirs = createNodeDataChannelEngine({ bindAddress: '127.0.0.1' });

// Of libdatachannel's set-ups a few in a hundred end with "unknown CA": its own race.
describe('our stack and libdatachannel', { retry: 3 }, () => {
  it.each([
    ['we offer', ours, theirs],
    ['it offers', theirs, ours],
  ] as const)('meet when %s, and pass messages of every size both ways', async (_, offering, answering) => {
    const [left, right] = [open(offering), open(answering)];
    try {
      await connectPair(left, right);
      for (const [from, to] of [
        [left, right],
        [right, left],
      ] as const) {
        for (const [at, channel] of from.channels.entries()) {
          for (const size of [1, 1200, 16_384, 262_144]) {
            const arrived = new Promise<Uint8Array>((resolve) => {
              const other = to.channels[at];
              if (other) other.onmessage = resolve;
            });
            channel.send(Buffer.alloc(size, `${at} ${size} `));
            expect(Buffer.compare(await arrived, Buffer.alloc(size, `${at} ${size} `))).toBe(0);
          }
        }
      }
    } finally {
      left.connection.close();
      right.connection.close();
    }
  });

  it('a channel that one end closes closes at the other', async () => {
    const [left, right] = [open(ours), open(theirs)];
    try {
      await connectPair(left, right);
      const closed = [left, right].map(
        ({ channels }) =>
          new Promise<void>((resolve) => {
            if (channels[1]) channels[1].onclose = resolve;
          }),
      );
      left.channels[1]?.close();
      await Promise.all(closed);
      const arrived = new Promise((resolve) => {
        if (right.channels[0]) right.channels[0].onmessage = resolve;
      });
      left.channels[0]?.send(Buffer.from('still here'));
      await arrived;
    } finally {
      left.connection.close();
      right.connection.close();
    }
  });
});

function open(engine: RtcEngine) {
  const connection = engine.createPeerConnection({});
  return { connection, channels: INITS.map((init) => connection.createDataChannel(`channel ${init.id}`, init)) };
}
