/** What strangers send must not move an agent, cost it memory, or make it a weapon. */

import { describe, expect, it } from 'vitest';
import { encodeCheckError, encodeCheckSuccess } from '../src/agent/check-messages.ts';
import { ATTRIBUTE, METHOD } from '../src/stun/constants.ts';
import { StunWriter } from '../src/stun/encode.ts';
import { errorOf } from '../src/stun/message.ts';
import { BareAgent, LOCAL, PEER, PEER_ADDRESS } from './bare-agent.ts';

const STRANGER = { address: '198.51.100.66', port: 666 };

describe('a check from a stranger', () => {
  it.each([
    ['another username', { remote: { usernameFragment: 'nobody', password: PEER.password } }],
    ['another password', (bare: BareAgent) => ({ remote: { ...bare.agent.localParameters, password: PEER.password } })],
  ])('with %s is answered 401 and changes nothing', (_name, changes) => {
    const bare = new BareAgent();
    const id = bare.open();
    bare.meet();
    bare.take('request');
    bare.hear(id, bare.check(typeof changes === 'function' ? changes(bare) : changes), STRANGER);
    expect(bare.take('error').map(({ message }) => errorOf(message)?.code)).toEqual([401]);
    expect(bare.agent.stats().pairs).toHaveLength(1);
  });

  it('without integrity is answered 400, of another method too', () => {
    const bare = new BareAgent();
    const id = bare.open();
    for (const method of [METHOD.binding, METHOD.allocate]) {
      bare.hear(id, new StunWriter('request', method, bare.random.bytes(12)).finishWithFingerprint(), STRANGER);
    }
    expect(bare.take('error').map(({ message }) => errorOf(message)?.code)).toEqual([400, 400]);
  });

  it('gets no more than twenty errors a second', () => {
    const bare = new BareAgent();
    const id = bare.open();
    for (let count = 0; count < 5000; count += 1) {
      bare.hear(id, new StunWriter('request', METHOD.binding, bare.random.bytes(12)).finish(), STRANGER);
    }
    expect(bare.sent).toHaveLength(20);
    expect(bare.agent.stats().packetsIgnored).toBe(5000);
  });
});

describe('a peer that knows the password', () => {
  it('and asks for what we do not understand gets 420 with the types', () => {
    const bare = new BareAgent();
    const id = bare.open();
    const bytes = new StunWriter('request', METHOD.binding, bare.random.bytes(12))
      .text(ATTRIBUTE.username, `${bare.agent.localParameters.usernameFragment}:peer`)
      .uint32(0x7ffe, 1)
      .uint32(0xfffe, 1)
      .integrity(Buffer.from(bare.agent.localParameters.password))
      .finishWithFingerprint();
    bare.hear(id, bytes);
    const [answer] = bare.take('error');
    expect(errorOf(answer!.message)?.code).toBe(420);
    expect(answer!.message.attributes.get(ATTRIBUTE.unknownAttributes)?.value.toString('hex')).toBe('7ffe');
  });

  it('and floods from ten thousand ports makes few candidates and a bounded pace', () => {
    const bare = new BareAgent({ controlling: false });
    const id = bare.open();
    bare.meet();
    for (let port = 1; port <= 10_000; port += 1) {
      bare.hear(id, bare.check(), { address: '198.51.100.66', port });
      bare.nowMs += 0.1;
    }
    expect(bare.agent.stats().pairs.length).toBeLessThanOrEqual(33);
    // Our own checks, in the one second that it took: 64 at 5 ms, the rest slower.
    expect(bare.take('request').length).toBeLessThan(150);
  });

  it('and signals ten thousand candidates is heard as far as the limit', () => {
    const bare = new BareAgent();
    bare.open();
    bare.meet();
    for (let port = 1; port <= 10_000; port += 1) {
      const candidate = { foundation: `${port}`, component: 1, protocol: 'udp', priority: port, type: 'host' } as const;
      bare.agent.addRemoteCandidate({ ...candidate, address: '198.51.100.66', port }, 0);
    }
    expect(bare.agent.stats().pairs.length).toBeLessThanOrEqual(128);
  });
});

describe('an answer', () => {
  it('from another address, with another password or without one is overlooked; the right one counts', () => {
    const bare = new BareAgent();
    const id = bare.open();
    bare.meet();
    const [check] = bare.take('request');
    const right = encodeCheckSuccess(check!.message, LOCAL, PEER);
    bare.hear(id, right, STRANGER);
    bare.hear(id, encodeCheckSuccess(check!.message, LOCAL, { ...PEER, password: 'x'.repeat(24) }));
    bare.hear(id, encodeCheckError(check!.message, 487, 'Role Conflict'));
    bare.hear(id, encodeCheckError(check!.message, 400, 'Bad Request'));
    expect(bare.agent.isWritable).toBe(false);
    expect(bare.agent.isControlling).toBe(true);
    bare.hear(id, right);
    expect(bare.agent.isWritable).toBe(true);
  });
});

describe('a request that is played again', () => {
  it('from another address makes no candidate and gets no answer', () => {
    const bare = new BareAgent({ controlling: false });
    const id = bare.open();
    bare.meet();
    const check = bare.check();
    bare.hear(id, check);
    bare.take('request');
    bare.hear(id, check, STRANGER);
    bare.wait(100);
    expect(bare.sent.filter(({ remote }) => remote.address === STRANGER.address)).toEqual([]);
    expect(bare.agent.stats().pairs).toHaveLength(1);
  });

  it('does not bring an old nomination back', () => {
    const bare = new BareAgent({ controlling: false });
    const id = bare.open();
    bare.meet();
    bare.answerChecks(id);
    const second = { address: '192.0.2.8', port: 8000 };
    const first = bare.check({ nominate: true, nomination: 1 });
    bare.hear(id, first);
    bare.hear(id, bare.check({ nominate: true, nomination: 2 }), second);
    bare.wait(20);
    bare.answerChecks(id);
    expect(bare.agent.stats().selected?.remote.address).toBe(second.address);
    bare.hear(id, first);
    bare.hear(id, bare.check({ nominate: true, nomination: 1 }));
    expect(bare.agent.stats().selected?.remote.address).toBe(second.address);
  });
});

describe('application datagrams', () => {
  it('from an address that is no candidate are dropped', () => {
    const bare = new BareAgent();
    const id = bare.open();
    bare.meet();
    bare.answerChecks(id);
    bare.hear(id, Buffer.from('\u0016forged'), STRANGER);
    bare.hear(id, Buffer.from('\u0016true'));
    expect(bare.heard).toEqual(['\u0016true']);
  });
});

describe('the egress gate', () => {
  it('lets nothing out that the policy does not permit: packets, connections, look-ups', () => {
    const bare = new BareAgent({
      egress: () => false,
      tcpTypes: ['active'],
      servers: [
        { urls: ['stun:192.0.2.9', 'stun:stun.example.org'] },
        { urls: 'turns:turn.example.org', username: 'u', credential: 'p' },
        { urls: 'turn:192.0.2.9?transport=tcp', username: 'u', credential: 'p' },
      ],
    });
    const id = bare.open();
    bare.meet();
    const base = { foundation: '2', component: 1, priority: 9, type: 'host', address: '192.0.2.7', port: 99 } as const;
    bare.agent.addRemoteCandidate({ ...base, protocol: 'tcp', tcpType: 'passive' }, 0);
    bare.agent.addRemoteCandidate({ ...base, protocol: 'udp', address: 'some.local' }, 0);
    bare.hear(id, bare.check(), STRANGER);
    bare.hear(id, bare.check());
    bare.wait(5000);
    bare.agent.sendDatagram(Buffer.from('\u0016x'));
    expect(bare.sent).toEqual([]);
    expect(bare.requests.map(({ type }) => type)).toEqual(['bind-udp']);
    expect(bare.agent.stats().refused).toBeGreaterThan(5);
    expect(bare.agent.stats().packetsOut).toBe(0);
  });

  it('can permit one address alone, and sees who a packet is for', () => {
    const seen = new Set<string>();
    const bare = new BareAgent({
      egress: ({ remote, peer, kind }) => {
        seen.add(`${kind} ${peer.address}`);
        return remote.address === PEER_ADDRESS.address;
      },
    });
    const id = bare.open();
    bare.meet();
    bare.hear(id, bare.check(), STRANGER);
    bare.wait(100);
    expect(new Set(bare.sent.map(({ remote }) => remote.address))).toEqual(new Set([PEER_ADDRESS.address]));
    expect(seen).toEqual(new Set(['check 192.0.2.7', 'response 198.51.100.66', 'check 198.51.100.66']));
  });

  it('closed, lets nothing out at all', () => {
    const bare = new BareAgent();
    const id = bare.open();
    bare.meet();
    bare.answerChecks(id);
    bare.agent.close();
    bare.sent.length = 0;
    bare.hear(id, bare.check());
    bare.wait(60_000);
    expect(bare.agent.sendDatagram(Buffer.from('\u0016x'))).toBe(false);
    expect(bare.sent).toEqual([]);
    expect(() => bare.agent.gather([], 0)).toThrow(expect.objectContaining({ code: 'ICE_CLOSED' }));
  });
});
