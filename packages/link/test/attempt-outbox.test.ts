import { silentLogger } from '@claw/base';
import type { RtcDataChannel } from '@claw/contracts';
import { VirtualClock } from '@claw/testkit';
import { expect, test } from 'vitest';
import { type AttemptMessage, MAX_CANDIDATES } from '../src/connect/attempt-messages.ts';
import { AttemptOutbox } from '../src/connect/attempt-outbox.ts';

test('a machine of many addresses says its candidates in several messages, those over UDP first', async () => {
  const clock = new VirtualClock();
  const said: AttemptMessage[] = [];
  const outbox = new AttemptOutbox({
    attempt: Buffer.alloc(16),
    control: { readyState: 'connecting' } as RtcDataChannel,
    post: async (message) => {
      said.push(message);
      return { resend: () => {} } as never;
    },
    clock,
    logger: silentLogger,
    onFailed: (error) => expect.unreachable(String(error)),
  });
  for (let index = 0; index < 150; index += 1) {
    const protocol = index % 3 === 0 ? 'udp' : 'tcp';
    outbox.addCandidate({ candidate: `candidate:${index} 1 ${protocol} 1 10.0.0.1 9 typ host`, sdpMid: '0' });
  }
  outbox.addCandidate(null);
  const flight = Promise.resolve({ offset: 0, bytes: Buffer.alloc(1) });
  await outbox.describe('link.offer', { sdp: '', nonce: Buffer.alloc(32) }, flight);
  await clock.advance(100);
  const groups = said.map((message) => ('candidates' in message ? message.candidates : []));
  expect(groups.flat()).toHaveLength(150);
  expect(Math.max(...groups.map(({ length }) => length))).toBeLessThanOrEqual(MAX_CANDIDATES);
  expect(groups[0]?.slice(0, 50).every(({ candidate }) => candidate.includes(' udp '))).toBe(true);
});
