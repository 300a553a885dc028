/** Peers that are not like us: ICE-lite, mDNS names, servers with answers of their own. */

import { describe, expect, it } from 'vitest';
import { ATTRIBUTE, METHOD } from '../src/stun/constants.ts';
import { LongTermCredentials } from '../src/stun/credentials.ts';
import { StunWriter } from '../src/stun/encode.ts';
import { verifyIntegrity } from '../src/stun/integrity.ts';
import { addressOf, decodeStun, textOf } from '../src/stun/message.ts';
import { BareAgent } from './bare-agent.ts';

describe('an ICE-lite peer', () => {
  it('is controlled by us whoever offered, and nominated without a check of its own', () => {
    const bare = new BareAgent({ controlling: false });
    const id = bare.open();
    bare.meet(true);
    expect(bare.agent.isControlling).toBe(true);
    bare.answerChecks(id);
    const nominations = bare.take('request');
    expect(bare.agent.state).toBe('connected');
    bare.wait(100);
    const all = [...nominations, ...bare.take('request')];
    expect(all.filter(({ message }) => message.attributes.has(ATTRIBUTE.useCandidate)).length).toBeGreaterThan(0);
  });
});

describe('a candidate with a .local name', () => {
  const NAME = '0aaf0cc5-1d53-4b6f-b7a6-22d03bd3ffaa.local';
  const CANDIDATE = { foundation: '1', component: 1, protocol: 'udp', priority: 5, type: 'host', port: 7 } as const;

  function add(address: string, options = {}) {
    const bare = new BareAgent(options);
    bare.open();
    bare.agent.setRemoteParameters({ usernameFragment: 'peer', password: 'p'.repeat(24) }, 0);
    bare.agent.addRemoteCandidate({ ...CANDIDATE, address }, 0);
    return { bare, request: bare.requests.find(({ type }) => type === 'resolve') };
  }

  it('is asked for by name and checked at the one address that it stands for, IPv6 if there is one', () => {
    const { bare, request } = add(NAME);
    expect(request).toMatchObject({ name: NAME });
    bare.agent.nameResolved(request!.id, ['nonsense', '192.0.2.33', '192.0.2.34'], 0);
    expect(bare.sent.map(({ remote }) => remote)).toEqual([{ address: '192.0.2.33', port: 7 }]);
    const other = add(NAME);
    other.bare.agent.nameResolved(other.request!.id, ['192.0.2.33', 'fe80::1', '2001:db8::1'], 0);
    expect(other.bare.agent.remoteCandidates.map(({ address }) => address)).toEqual(['2001:db8::1']);
  });

  it('that no browser made is not asked for, nor is any where only relays may show us', () => {
    for (const address of ['printer.local', '0aaf0cc5.local', `x${NAME}`]) {
      expect(add(address).request, address).toBeUndefined();
    }
    expect(add(NAME, { transportPolicy: 'relay' }).request).toBeUndefined();
  });
});

describe('a TURN server', () => {
  const SERVER = { address: '192.0.2.9', port: 3478 };
  const turn = { urls: 'turn:192.0.2.9', username: 'user', credential: 'secret' };

  it('that says 300 is left for the one it names, three times at most', () => {
    const bare = new BareAgent({ servers: [turn], transportPolicy: 'relay' });
    const id = bare.open();
    for (let hop = 0; hop < 6; hop += 1) {
      bare.wait(50);
      for (const { message, remote } of bare.take('request')) {
        const alternate = Buffer.from([0, 1, 0x0d, 0x96, 192, 0, 2, 100 + hop]);
        const answer = new StunWriter('error', METHOD.allocate, message.transactionId)
          .error(300, 'Try Alternate')
          .bytes(ATTRIBUTE.alternateServer, alternate)
          .finish();
        bare.hear(id, answer, remote);
        if (hop < 3) expect(remote.address).toBe(hop === 0 ? SERVER.address : `192.0.2.${99 + hop}`);
      }
    }
    bare.wait(10_000);
    expect(bare.agent.isGatheringComplete).toBe(true);
    expect(bare.agent.localCandidates).toEqual([]);
  });

  const RELAYED = { address: '192.0.2.9', port: 50_000 };

  function answerTurn(bare: BareAgent, id: number, codes: Partial<Record<number, number>> = {}): number[] {
    return bare.take('request').map(({ message, remote }) => {
      const code = codes[message.method];
      const writer = new StunWriter(code ? 'error' : 'success', message.method, message.transactionId);
      if (code) writer.error(code, 'No');
      if (!code && message.method === METHOD.allocate) writer.address(ATTRIBUTE.xorRelayedAddress, RELAYED);
      bare.hear(id, writer.uint32(ATTRIBUTE.lifetime, 600).finish(), remote);
      return message.method;
    });
  }

  it('that says 437 has the old allocation deleted and is asked again', () => {
    const bare = new BareAgent({ servers: [turn], transportPolicy: 'relay' });
    const id = bare.open();
    const methods = [answerTurn(bare, id, { [METHOD.allocate]: 437 }), answerTurn(bare, id), answerTurn(bare, id)];
    expect(methods).toEqual([[METHOD.allocate], [METHOD.refresh], [METHOD.allocate]]);
    expect(bare.agent.localCandidates).toMatchObject([{ type: 'relay', ...RELAYED, relayProtocol: 'udp' }]);
  });

  it('that forgot the allocation is asked for another one', () => {
    const bare = new BareAgent({ servers: [turn], transportPolicy: 'relay' });
    const id = bare.open();
    bare.meet();
    answerTurn(bare, id);
    bare.wait(300_000);
    // Permissions last five minutes, and are renewed in four.
    expect(answerTurn(bare, id).filter((method) => method === METHOD.createPermission).length).toBeGreaterThan(0);
    bare.wait(239_999);
    bare.take('request');
    bare.wait(2);
    expect(answerTurn(bare, id, { [METHOD.refresh]: 437 })).toContain(METHOD.refresh);
    bare.wait(600);
    expect(bare.agent.localCandidates).toEqual([]);
    expect(answerTurn(bare, id)).toContain(METHOD.allocate);
    expect(bare.agent.localCandidates).toHaveLength(1);
  });

  it('that is dead does not keep gathering from ending', () => {
    const bare = new BareAgent({ servers: [turn, { urls: 'stun:192.0.2.9' }] });
    bare.open();
    bare.wait(15_000);
    expect(bare.agent.isGatheringComplete).toBe(true);
  });
});

describe('long-term credentials', () => {
  const secret = { username: 'マトリックス', password: 'TheMatrIX' };
  const NONCE = Buffer.from('obMatJos2AAADf//499k954d6OL34oL9FSTvy64sA');

  function challenge(...algorithms: number[]) {
    const value = Buffer.concat(algorithms.map((algorithm) => Buffer.from([0, algorithm, 0, 0])));
    const writer = new StunWriter('error', METHOD.allocate, Buffer.alloc(12))
      .error(401, 'Unauthenticated')
      .text(ATTRIBUTE.realm, 'example.org')
      .bytes(ATTRIBUTE.nonce, NONCE);
    if (algorithms.length > 0) writer.bytes(ATTRIBUTE.passwordAlgorithms, value);
    return decodeStun(writer.finish())!;
  }

  it('use SHA-256 and hide the name where the server wishes so (RFC 8489, appendix B.1)', () => {
    const credentials = new LongTermCredentials(secret);
    expect(credentials.challenge(challenge(1, 2))).toBe(true);
    const signed = credentials.sign(new StunWriter('request', METHOD.allocate, Buffer.alloc(12))).finish();
    const message = decodeStun(signed)!;
    expect(message.attributes.get(ATTRIBUTE.userhash)?.value.toString('hex')).toBe(
      '4a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704',
    );
    expect(message.attributes.get(ATTRIBUTE.passwordAlgorithm)?.value.toString('hex')).toBe('00020000');
    expect(textOf(message, ATTRIBUTE.username)).toBeUndefined();
    expect(message.attributes.has(ATTRIBUTE.messageIntegrity)).toBe(false);
    expect(credentials.verify(message)).toBe(true);
    expect(verifyIntegrity(message, Buffer.from('x'), 'sha256')).toBe(false);
  });

  it('refuse a challenge whose algorithms somebody took away', () => {
    expect(new LongTermCredentials(secret).challenge(challenge())).toBe(false);
    expect(new LongTermCredentials(secret).challenge(challenge(7))).toBe(false);
  });
});

describe('addresses on the wire', () => {
  it('survive the XOR in both families', () => {
    for (const address of ['192.0.2.1', '2001:db8::1', '::', '1:2:3:4:5:6:7:8']) {
      const message = decodeStun(
        new StunWriter('success', METHOD.binding, Buffer.from('abcdefghijkl'))
          .address(ATTRIBUTE.xorMappedAddress, { address, port: 4711 })
          .finish(),
      )!;
      expect(addressOf(message, ATTRIBUTE.xorMappedAddress)).toEqual({ address, port: 4711 });
    }
  });
});
