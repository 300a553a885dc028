/** Many connections of one engine over one UDP socket. */

import type { RtcDataChannel, RtcPeerConnection } from '@claw/contracts';
import { type IceServer, type IceSockets, SharedSockets } from '@claw/ice';
import { loadAccess, twoPeers } from '@claw/scenarios';
import { type Host, openSimnet, SIMNET_TURN, type Simnet } from '@claw/simnet';
import { SimSockets } from '@claw/simnet/ice';
import { seededRandom } from '@claw/testkit';
import { describe, expect, it } from 'vitest';
import { createWebrtcEngine } from '../src/index.ts';

const STUN: IceServer[] = [{ urls: 'stun:20.0.0.10' }];
const TURN: IceServer[] = [
  { urls: 'turn:20.0.0.10', username: SIMNET_TURN.username, credential: SIMNET_TURN.credential },
];

interface End {
  readonly connection: RtcPeerConnection;
  readonly channel: RtcDataChannel;
  readonly heard: string[];
}

class Pairs {
  readonly net: Simnet;
  readonly pairs: { readonly a: End; readonly b: End }[] = [];

  constructor() {
    const link = { up: { delayMs: 10 }, down: { delayMs: 10 } };
    const access = loadAccess('eim-apdf');
    this.net = openSimnet(twoPeers({ a: access, b: access, links: { a: link, b: link } }), { seed: 1 });
  }

  engine(name: 'a' | 'b', sockets: (host: Host) => IceSockets) {
    const host = this.net.host(name);
    return createWebrtcEngine({
      clock: host.clock,
      random: seededRandom(name === 'a' ? 1 : 2),
      sockets: sockets(host),
    });
  }

  /** Everybody offers at once. */
  async connect(
    a: ReturnType<typeof createWebrtcEngine>,
    b: ReturnType<typeof createWebrtcEngine>,
    count: number,
    configuration: Parameters<typeof a.createPeerConnection>[0] = { iceServers: STUN },
  ): Promise<void> {
    for (let index = 0; index < count; index += 1) {
      const pair = { a: open(a.createPeerConnection(configuration)), b: open(b.createPeerConnection(configuration)) };
      this.pairs.push(pair);
      const [left, right] = [pair.a.connection, pair.b.connection];
      left.onicecandidate = (candidate) => candidate && void right.addIceCandidate(candidate);
      right.onicecandidate = (candidate) => candidate && void left.addIceCandidate(candidate);
      await right.setRemoteDescription(await left.setLocalDescription());
      await left.setRemoteDescription(await right.setLocalDescription());
    }
    await this.net.run(this.net.nowMs + 10_000);
  }

  /** Each says its own words, both ways. Returns the pairs that did not hear just these. */
  async talk(words: string): Promise<string[]> {
    for (const [index, { a, b }] of this.pairs.entries()) {
      a.channel.send(Buffer.from(`${words} ${index}`));
      b.channel.send(Buffer.from(`${words} ${index} back`));
    }
    await this.net.run(this.net.nowMs + 2000);
    return this.pairs.flatMap(({ a, b }, index) => {
      const heard = [...b.heard.splice(0), ...a.heard.splice(0)].join();
      return heard === `${words} ${index},${words} ${index} back` ? [] : [`pair ${index} heard "${heard}"`];
    });
  }

  /** UDP mappings of a's NAT: one for each socket that has spoken to the outside. */
  get mappings(): number {
    return this.net
      .nat('a-r1')
      .mappings(this.net.nowMs)
      .filter(({ protocol }) => protocol === 'udp').length;
  }

  close(): void {
    for (const { a, b } of this.pairs) for (const end of [a, b]) end.connection.close();
  }
}

function open(connection: RtcPeerConnection): End {
  const channel = connection.createDataChannel('c', { negotiated: true, id: 0 });
  const heard: string[] = [];
  channel.onmessage = (data) => heard.push(Buffer.from(data).toString());
  return { connection, channel, heard };
}

describe('shared sockets', () => {
  it('carry fifty connections to fifty peers over one socket and one mapping of the NAT', {
    timeout: 60_000,
  }, async () => {
    const all = new Pairs();
    const shared = new SharedSockets(new SimSockets(all.net.host('a')));
    const [a, b] = [all.engine('a', () => shared), all.engine('b', (host) => new SimSockets(host))];
    await all.connect(a, b, 50);
    expect(new Set(all.pairs.map((pair) => pair.a.connection.connectionState))).toEqual(new Set(['connected']));
    expect(await all.talk('hello')).toEqual([]);
    expect(all.mappings).toBe(1);
    const ports = await Promise.all(all.pairs.map(({ a: { connection } }) => connection.getPathStats()));
    expect(new Set(ports.map((path) => path?.local.port)).size).toBe(1);
    // Half of them leave, and the others notice nothing.
    for (const pair of all.pairs.splice(0, 25)) for (const end of [pair.a, pair.b]) end.connection.close();
    expect(await all.talk('still here')).toEqual([]);
    all.close();
    await shared.close();
    await all.net.run(all.net.nowMs + 30_000);
    expect(all.net.pendingEvents).toBe(0);
  });

  it('carry several connections between the same two sockets', async () => {
    const all = new Pairs();
    const [a, b] = [
      all.engine('a', (host) => new SharedSockets(new SimSockets(host))),
      all.engine('b', (host) => new SharedSockets(new SimSockets(host))),
    ];
    await all.connect(a, b, 5);
    expect(await all.talk('one of five')).toEqual([]);
    all.close();
  });

  it('give each connection a socket of its own for TURN', async () => {
    const all = new Pairs();
    const a = all.engine('a', (host) => new SharedSockets(new SimSockets(host)));
    const b = all.engine('b', (host) => new SimSockets(host));
    await all.connect(a, b, 5, { iceServers: TURN, iceTransportPolicy: 'relay' });
    expect(await all.talk('by relay')).toEqual([]);
    expect(all.mappings).toBe(5);
    all.close();
  });

  it('say nothing to strangers, whatever they send', async () => {
    const all = new Pairs();
    const shared = new SharedSockets(new SimSockets(all.net.host('a')));
    const [a, b] = [all.engine('a', () => shared), all.engine('b', (host) => new SimSockets(host))];
    await all.connect(a, b, 2);
    const [path] = await Promise.all(all.pairs.map(({ a: { connection } }) => connection.getPathStats()));
    // From the same network, so that no NAT is in the way.
    const stranger = all.net.host('a').bindUdp();
    const answers: Buffer[] = [];
    stranger.onMessage((bytes) => answers.push(bytes));
    const random = seededRandom(3);
    const before = shared.dropped;
    for (let sent = 0; sent < 300; sent += 1) {
      const bytes = random.bytes(1 + Math.floor(random.fraction() * 200));
      bytes[0] = [0, 1, 22, 0x2c, 64, 100][sent % 6] as number;
      if (sent % 6 === 0) Buffer.from('000100182112a442', 'hex').copy(bytes);
      stranger.send(bytes, { address: '192.168.1.10', port: path?.local.port ?? 0 });
    }
    await all.net.run(all.net.nowMs + 1000);
    expect(answers).toEqual([]);
    expect(shared.dropped - before).toBe(300);
    expect(await all.talk('undisturbed')).toEqual([]);
    all.close();
  });
});
