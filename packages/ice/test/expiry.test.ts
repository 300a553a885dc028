/** Consent that expires while a check of the same pair is on its way. */

import { expect, it } from 'vitest';
import { encodeCheckError, encodeCheckSuccess } from '../src/agent/check-messages.ts';
import { ATTRIBUTE } from '../src/stun/constants.ts';
import { decodeStun } from '../src/stun/message.ts';
import { BareAgent, LOCAL, PEER } from './bare-agent.ts';

const OTHER = { address: '192.0.2.2', port: 5000 };

it('fails the pair, which waits for that check when everything is tried anew', () => {
  const bare = new BareAgent();
  const { agent } = bare;
  agent.gather([LOCAL, OTHER], 0);
  const [first = 0, second = 0] = bare.requests.map(({ id }) => id);
  agent.transportOpened(first, LOCAL, 0);
  agent.transportOpened(second, OTHER, 0);
  bare.meet();
  /** Answers what was sent from these sockets. */
  const answer = (...ids: number[]) => {
    for (const { id, bytes, remote } of bare.sent.splice(0)) {
      const message = decodeStun(bytes);
      const local = id === first ? LOCAL : OTHER;
      if (message?.class === 'request' && ids.includes(id))
        bare.hear(id, encodeCheckSuccess(message, local, PEER), remote);
    }
  };
  for (let turn = 0; turn < 20; turn += 1) {
    bare.wait(50);
    answer(first, second);
  }
  const pairOf = (address: string) => agent.stats().pairs.find(({ local }) => local.address === address);
  const dead = pairOf(LOCAL.address);
  for (let turn = 0; turn < 400 && pairOf(LOCAL.address)?.state === 'succeeded'; turn += 1) {
    if (turn > 280) agent.nominate(dead?.id ?? 0, bare.nowMs);
    bare.wait(100);
    answer(second);
  }
  expect(pairOf(LOCAL.address)?.state).toBe('failed');
  expect(agent.stats().selected?.local.address).toBe(OTHER.address);
  agent.transportFailed(second, bare.nowMs);
  bare.wait(100);
  expect(pairOf(LOCAL.address)?.state).toBe('in-progress');
  answer(first);
  expect(agent.isWritable).toBe(true);
});

it('and a nomination that meets a role conflict is made again by the other role, once', () => {
  const bare = new BareAgent();
  const { agent } = bare;
  const id = bare.open();
  bare.meet();
  bare.answerChecks(id);
  expect(agent.isWritable).toBe(true);
  bare.wait(10);
  const nominations = bare.take('request').filter(({ message }) => message.attributes.has(ATTRIBUTE.useCandidate));
  expect(nominations).toHaveLength(1);
  for (const { message, remote } of nominations) {
    bare.hear(id, encodeCheckError(message, 487, 'Role Conflict', { local: PEER }), remote);
  }
  expect(agent.isControlling).toBe(false);
  bare.wait(10);
  expect(bare.take('request')).toHaveLength(1);
  expect(agent.stats().pairs.map(({ state }) => state)).toEqual(['succeeded']);
});
