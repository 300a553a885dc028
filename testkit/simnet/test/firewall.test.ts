import type { FirewallRule, NatSpec } from '@claw/scenarios';
import { describe, expect, test } from 'vitest';
import { openSimnet, type Simnet, type UdpProblem } from '../src/index.ts';
import { behindRouters, PLAIN_NAT, SERVER } from './topologies.ts';

const behind = (rules: FirewallRule[], nat: NatSpec = PLAIN_NAT) => behindRouters({ nat, firewall: { rules } });

/** What a datagram from a to port 5000 of the server meets: its echo, an error, or silence. */
async function ask(simnet: Simnet, port = 5000): Promise<string | UdpProblem> {
  const server = simnet.host('services').bindUdp({ port });
  server.onMessage((bytes, from) => server.send(bytes, from));
  const socket = simnet.host('a').bindUdp();
  const outcome = new Promise<string | UdpProblem>((resolve) => {
    socket.onMessage((bytes) => resolve(String(bytes)));
    socket.onError(resolve);
    simnet.host('a').clock.setTimer(200, () => resolve('silence'));
  });
  socket.send(Buffer.from('echo'), { address: SERVER, port });
  const result = await simnet.runUntil(outcome, simnet.nowMs + 1000);
  server.close();
  return result;
}

describe('a firewall', () => {
  test('lets answers in to what it let out, and nothing else', async () => {
    using simnet = openSimnet(behind([{ action: 'drop', from: 'outside', to: 'inside' }]), { seed: 1 });
    expect(await ask(simnet)).toBe('echo');
    const inside = simnet.host('a').bindUdp({ port: 7000 });
    let heard = 0;
    inside.onMessage(() => {
      heard += 1;
    });
    // The NAT would let everyone in by this mapping.
    inside.send(Buffer.from('x'), { address: '20.0.0.99', port: 1 });
    await simnet.run(simnet.nowMs + 100);
    simnet.host('services').bindUdp().send(Buffer.from('x'), { address: '20.0.1.1', port: 7000 });
    await simnet.run(simnet.nowMs + 100);
    expect(heard).toBe(0);
  });

  test('drops in silence and rejects with an error, by port and address', async () => {
    const rules: FirewallRule[] = [
      { action: 'accept', protocol: 'udp', ports: [53] },
      { action: 'reject', protocol: 'udp', ports: [5000], addresses: [SERVER] },
      { action: 'drop', protocol: 'udp' },
    ];
    using simnet = openSimnet(behind(rules), { seed: 1 });
    expect(await ask(simnet)).toMatchObject({ problem: 'port-unreachable' });
    expect(await ask(simnet, 5001)).toBe('silence');
  });

  test('resets a TCP connection that it rejects', async () => {
    using simnet = openSimnet(behind([{ action: 'reject', protocol: 'tcp' }]), { seed: 1 });
    const refused = simnet.host('a').connectTcp({ address: SERVER, port: 80 });
    await expect(simnet.runUntil(refused, 1000)).rejects.toMatchObject({ code: 'SIMNET_REFUSED' });
    expect(simnet.nowMs).toBeLessThan(5);
  });

  test('lets ICMP errors in about what it let out, through a NAT', async () => {
    using simnet = openSimnet(behind([{ action: 'drop', from: 'outside' }]), { seed: 1 });
    const socket = simnet.host('a').bindUdp({ port: 4444 });
    const problem = new Promise<UdpProblem>((resolve) => socket.onError(resolve));
    socket.send(Buffer.from('x'), { address: SERVER, port: 9 });
    expect(await simnet.runUntil(problem, 1000)).toEqual({
      problem: 'port-unreachable',
      destination: { address: SERVER, port: 9 },
    });
  });
});
