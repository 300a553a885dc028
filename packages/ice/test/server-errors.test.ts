/** What is told of STUN and TURN servers that refuse, or that nobody can reach. */

import { describe, expect, it } from 'vitest';
import { METHOD } from '../src/stun/constants.ts';
import { StunWriter } from '../src/stun/encode.ts';
import { BareAgent, LOCAL } from './bare-agent.ts';

const OTHER = { address: '192.0.2.2', port: 5001 };
const STUN = { urls: 'stun:198.51.100.9' };
const TURN = { urls: 'turn:198.51.100.9', username: 'user', credential: 'secret' };
const UNREACHED = { code: 701, reason: 'no answer from the server', local: undefined };

/** Answers everything that was asked with an error. */
function refuse(bare: BareAgent, id: number, code: number, reason: string): void {
  bare.wait(100);
  for (const { message, remote } of bare.take('request')) {
    bare.hear(id, new StunWriter('error', message.method, message.transactionId).error(code, reason).finish(), remote);
  }
}

describe('a server', () => {
  it('that no socket of ours gets an answer from is told once, before gathering ends', () => {
    const bare = new BareAgent({ servers: [STUN, TURN] });
    bare.agent.gather([LOCAL, OTHER], 0);
    const [first, second] = bare.requests.map(({ id }) => id);
    bare.agent.transportOpened(first ?? 0, LOCAL, 0);
    bare.agent.transportOpened(second ?? 0, OTHER, 0);
    bare.wait(5000);
    expect([bare.serverErrors, bare.gatheringEnds]).toEqual([[], 0]);
    bare.wait(15_000);
    expect(bare.serverErrors).toEqual([
      { url: STUN.urls, ...UNREACHED },
      { url: TURN.urls, ...UNREACHED },
    ]);
    expect(bare.gatheringEnds).toBe(1);
  });

  it('that answers one of our sockets is not told', () => {
    const bare = new BareAgent({ servers: [STUN] });
    bare.agent.gather([LOCAL, OTHER], 0);
    const [first = 0, second = 0] = bare.requests.map(({ id }) => id);
    bare.agent.transportOpened(first, LOCAL, 0);
    bare.agent.transportOpened(second, OTHER, 0);
    bare.wait(100);
    const [asked] = bare.sent.filter(({ id }) => id === second);
    const answer = new StunWriter('success', METHOD.binding, asked!.bytes.subarray(8, 20)).finish();
    bare.hear(second, answer, asked!.remote);
    bare.wait(20_000);
    expect([bare.serverErrors, bare.gatheringEnds]).toEqual([[], 1]);
  });

  it('that refuses is told with its code, its words and our socket, and not as one without an answer', () => {
    for (const server of [STUN, TURN]) {
      const bare = new BareAgent({ servers: [server] });
      refuse(bare, bare.open(), 403, 'Not from here');
      bare.wait(20_000);
      expect(bare.serverErrors).toEqual([{ url: server.urls, code: 403, reason: 'Not from here', local: LOCAL }]);
    }
  });

  it.each([
    ['whose name nobody knows', { urls: 'stun:stun.example.org' }, 'resolve'],
    ['that takes no connection', { ...TURN, urls: 'turn:198.51.100.9?transport=tcp' }, 'connect-tcp'],
  ] as const)('%s is told', (_name, server, type) => {
    const bare = new BareAgent({ servers: [server] });
    bare.open();
    const request = bare.requests.find((each) => each.type === type);
    expect(bare.serverErrors).toEqual([]);
    if (type === 'resolve') bare.agent.nameResolved(request!.id, [], 0);
    else bare.agent.transportFailed(request!.id, 0);
    expect(bare.serverErrors).toEqual([{ url: server.urls, ...UNREACHED }]);
    expect(bare.gatheringEnds).toBe(1);
  });

  it('is told again when a restart asks it in vain again, and not when what it gave is lost later', () => {
    const bare = new BareAgent({ servers: [TURN] });
    const id = bare.open();
    refuse(bare, id, 486, 'Quota');
    expect(bare.serverErrors).toHaveLength(1);
    bare.agent.restart(bare.nowMs);
    bare.agent.gather([LOCAL], bare.nowMs);
    refuse(bare, id, 486, 'Quota');
    expect(bare.serverErrors).toHaveLength(2);
  });
});
