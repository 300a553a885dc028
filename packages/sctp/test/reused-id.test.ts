/** A stream id is free for its closer before the other end knows that its own reset was answered. */

import { expect, test } from 'vitest';
import { Pair } from './pair.ts';

const RECONFIG = 130;
const RESET_RESPONSE = 16;

test.each([false, true])(
  'the next channel of an id loses nothing when the last answer was lost; closed: %s',
  (isClosed) => {
    const pair = new Pair({ delayMs: 10 }).connect();
    const first = pair.a.open({ label: 'first' });
    pair.run(500);
    let dropped = 0;
    pair.forward.filter = (packet) => {
      const isAnswer = packet[12] === RECONFIG && packet.readUInt16BE(16) === RESET_RESPONSE;
      if (isAnswer && dropped === 0) dropped += 1;
      else return true;
      return false;
    };
    first.close(pair.simulation.nowMs);
    pair.a.settle();
    pair.run(5000, () => first.state === 'closed');
    expect([dropped, pair.b.opened[0]?.state]).toEqual([1, 'closing']);
    const next = pair.a.open({ label: 'next' });
    expect(next.id).toBe(first.id);
    pair.a.send(next, 'one');
    pair.a.send(next, 'two');
    if (isClosed) {
      next.close(pair.simulation.nowMs);
      pair.a.settle();
    }
    pair.run(5000);
    expect(pair.b.opened.map(({ label }) => label)).toEqual(['first', 'next']);
    expect(pair.b.messages.map(({ data }) => data.toString())).toEqual(['one', 'two']);
    const state = isClosed ? 'closed' : 'open';
    expect([next.state, ...pair.b.opened.map((channel) => channel.state)]).toEqual([state, 'closed', state]);
  },
);
