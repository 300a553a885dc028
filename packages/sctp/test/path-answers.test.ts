/** Whoever knows that a silent path is back says so, and nothing waits for a timeout that has grown. */

import { expect, test } from 'vitest';
import { Pair } from './pair.ts';

/** Nothing passes for nine seconds while `act` wants something sent. */
function afterOutage(act: (pair: Pair) => void, isTold: boolean): Pair {
  const pair = new Pair({ delayMs: 10 }).connect();
  pair.run(1000);
  pair.forward.filter = () => false;
  act(pair);
  pair.run(9000);
  pair.forward.filter = undefined;
  if (isTold) {
    pair.a.association.pathAnswers(pair.simulation.nowMs);
    pair.a.settle();
  }
  pair.run(100);
  return pair;
}

test.each([
  [true, 20],
  [false, 0],
] as const)('data that waited arrives with the next packet; told: %s', (isTold, expected) => {
  const send = (pair: Pair) => {
    const channel = pair.a.open();
    for (let sent = 0; sent < 20; sent++) pair.a.send(channel, Buffer.alloc(500));
  };
  expect(afterOutage(send, isTold).b.messages).toHaveLength(expected);
});

test.each([true, false])('a stream reset is repeated at once; told: %s', (isTold) => {
  let state = () => '';
  const close = (pair: Pair) => {
    const channel = pair.a.open({ isNegotiated: true, id: 7 });
    pair.b.open({ isNegotiated: true, id: 7 });
    channel.close(pair.simulation.nowMs);
    pair.a.settle();
    state = () => channel.state;
  };
  afterOutage(close, isTold);
  expect(state()).toBe(isTold ? 'closed' : 'closing');
});
