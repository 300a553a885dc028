/** Connections that are refused at once, as by a host that does not listen any more. */

import { openSimnet } from '@claw/simnet';
import { expect, it } from 'vitest';
import { type Candidate, parseCandidate } from '../src/index.ts';
import { behindNats, STUN } from './networks.ts';
import { SimTransport } from './sim-transport.ts';

const REMOTE = { usernameFragment: 'peer', password: 'p'.repeat(24) };
/** The server's host, where nobody listens on this port. */
const refusing = parseCandidate('candidate:1 1 tcp 1 20.0.0.10 9999 typ host tcptype passive') as Candidate;

it('are tried once, and gathering goes on meanwhile', async () => {
  using net = openSimnet(behindNats({}), { seed: 1 });
  let connections = 0;
  const egress = ({ kind }: { kind: string }) => {
    if (kind === 'connect') connections += 1;
    return true;
  };
  const a = new SimTransport(net.host('a'), { controlling: true, servers: STUN, egress });
  a.act((agent, nowMs) => agent.setRemoteParameters(REMOTE, nowMs));
  a.act((agent, nowMs) => agent.addRemoteCandidate(refusing, nowMs));
  await net.run(1000);
  a.gather();
  await net.run(5000);
  expect(connections).toBe(1);
  expect(a.agent.localCandidates.map(({ type }) => type)).toContain('srflx');
  expect(a.agent.isGatheringComplete).toBe(true);
});

it('of many kinds do not keep gathering from its turn', async () => {
  using net = openSimnet(behindNats({}), { seed: 1 });
  const a = new SimTransport(net.host('a'), { controlling: true, servers: STUN });
  a.act((agent, nowMs) => agent.setRemoteParameters(REMOTE, nowMs));
  for (let port = 1; port <= 100; port += 1) {
    const candidate = parseCandidate(`candidate:${port} 1 udp ${port} 20.0.0.77 ${port} typ host`) as Candidate;
    a.act((agent, nowMs) => agent.addRemoteCandidate(candidate, nowMs));
  }
  a.gather();
  await net.run(100);
  expect(a.agent.localCandidates.map(({ type }) => type)).toContain('srflx');
});
