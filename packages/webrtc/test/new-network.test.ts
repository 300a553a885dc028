/** A machine that leaves its Wi-Fi for a mobile network while messages fly: none is lost and none comes twice. */

import { networkInterfaces } from 'node:os';
import { NodeSockets } from '@claw/ice/node';
import type { NatSpec, NodeSpec, Topology } from '@claw/scenarios';
import { openSimnet, type Simnet } from '@claw/simnet';
import { SimSockets } from '@claw/simnet/ice';
import { seededRandom, until } from '@claw/testkit';
import { describe, expect, it } from 'vitest';
import { type RTCDataChannel, RTCPeerConnection } from '../src/index.ts';
import { Ledger } from './simnet-ledger.ts';

const SIGNAL_MS = 50;
const TALK_MS = 20;
const DELAY = { up: { delayMs: 15 }, down: { delayMs: 15 } };
const NAT: Omit<NatSpec, 'outside'> = {
  mapping: 'endpoint-independent',
  filtering: 'address-and-port-dependent',
  ports: { kind: 'preserving' },
};
const WIFI = '192.168.1.10';
const MOBILE = '100.64.0.10';

function router(inside: string, address: string, outside: string): NodeSpec {
  return {
    kind: 'router',
    interfaces: {
      inside: { network: inside, ipv4: address },
      outside: { network: 'internet', ipv4: outside, ...DELAY },
    },
    nat: { ...NAT, outside: 'outside' },
  };
}

function topology(): Topology {
  return {
    networks: {
      internet: { ipv4: '20.0.0.0/16' },
      home: { ipv4: '192.168.1.0/24' },
      mobile: { ipv4: '100.64.0.0/24' },
      office: { ipv4: '192.168.2.0/24' },
    },
    nodes: {
      services: {
        kind: 'host',
        interfaces: { eth0: { network: 'internet', ipv4: '20.0.0.10' } },
        services: [{ kind: 'turn' }],
      },
      a: {
        kind: 'host',
        interfaces: {
          wifi: { network: 'home', ipv4: WIFI },
          lte: { network: 'mobile', ipv4: MOBILE, enabled: false },
        },
        gateway: { ipv4: '192.168.1.1' },
      },
      b: {
        kind: 'host',
        interfaces: { eth0: { network: 'office', ipv4: '192.168.2.10' } },
        gateway: { ipv4: '192.168.2.1' },
      },
      homer: router('home', '192.168.1.1', '20.0.1.1'),
      mobiler: router('mobile', '100.64.0.1', '20.0.3.1'),
      officer: router('office', '192.168.2.1', '20.0.2.1'),
    },
  };
}

/** Two that negotiate by themselves, and a channel of each kind on which both count aloud. */
class Talk implements Disposable {
  readonly net: Simnet;
  readonly a: RTCPeerConnection;
  readonly b: RTCPeerConnection;
  readonly #ledgers: Ledger[] = [];
  readonly #channels: RTCDataChannel[] = [];
  #count = 0;

  constructor() {
    this.net = openSimnet(topology(), { seed: 1 });
    this.a = this.#open('a', 1);
    this.b = this.#open('b', 2);
    this.#introduce(this.a, this.b, false);
    this.#introduce(this.b, this.a, true);
    for (const [id, ordered] of [true, false].entries()) this.#addChannels(id, ordered);
  }

  async for(forMs: number, isDone: () => Promise<boolean> = async () => false): Promise<boolean> {
    for (const endMs = this.net.nowMs + forMs; this.net.nowMs < endMs; ) {
      for (const channel of this.#channels) if (channel.readyState === 'open') channel.send(`${(this.#count += 1)}`);
      await this.net.run(this.net.nowMs + TALK_MS);
      if (await isDone()) return true;
    }
    return false;
  }

  moveToMobile(): void {
    this.net.apply({ do: 'interface-down', atMs: 0, node: 'a', interface: 'wifi' });
    this.net.apply({ do: 'interface-up', atMs: 0, node: 'a', interface: 'lte' });
    this.net.apply({ do: 'set-gateway', atMs: 0, node: 'a', ipv4: '100.64.0.1' });
  }

  /** Where `a` sends from. */
  readonly isOnMobile = async (): Promise<boolean> => {
    const address = await localAddress(this.a);
    return address === MOBILE || address === '20.0.3.1';
  };

  /** What is wrong with what arrived, once all had the time to. */
  async verdict(): Promise<string[]> {
    await this.net.run(this.net.nowMs + 3000);
    const missing = this.#ledgers.flatMap((ledger) => (ledger.isComplete ? [] : [ledger.describe()]));
    return [...missing, ...this.#ledgers.flatMap((ledger) => ledger.breaches())];
  }

  get heard(): number {
    return this.#ledgers.reduce((sum, { received }) => sum + received, 0);
  }

  [Symbol.dispose](): void {
    this.a.close();
    this.b.close();
    this.net.close();
  }

  #open(name: 'a' | 'b', seed: number): RTCPeerConnection {
    const host = this.net.host(name);
    return new RTCPeerConnection({
      iceServers: [{ urls: 'stun:20.0.0.10' }],
      sockets: new SimSockets(host),
      clock: host.clock,
      random: seededRandom(seed),
    });
  }

  #later(what: () => Promise<void>): void {
    this.net.host('services').clock.setTimer(SIGNAL_MS, () => void what());
  }

  /** Perfect negotiation (W3C WebRTC §10.7). */
  #introduce(from: RTCPeerConnection, to: RTCPeerConnection, isPolite: boolean): void {
    from.onicecandidate = ({ candidate }) => this.#later(() => to.addIceCandidate(candidate).catch(() => {}));
    from.onnegotiationneeded = () => void this.#describe(from, to, isPolite);
  }

  async #describe(from: RTCPeerConnection, to: RTCPeerConnection, isPolite: boolean): Promise<void> {
    await from.setLocalDescription();
    const { type, sdp } = from.localDescription ?? { type: 'none', sdp: '' };
    this.#later(async () => {
      const isCollision = type === 'offer' && to.signalingState !== 'stable';
      if (isCollision && isPolite) return;
      await to.setRemoteDescription({ type, sdp });
      if (type === 'offer') await this.#describe(to, from, !isPolite);
    });
  }

  #addChannels(id: number, ordered: boolean): void {
    const [left, right] = [this.a, this.b].map((end) => end.createDataChannel('c', { negotiated: true, id, ordered }));
    this.#watch(`${id} from a`, left as RTCDataChannel, right as RTCDataChannel, ordered);
    this.#watch(`${id} from b`, right as RTCDataChannel, left as RTCDataChannel, ordered);
  }

  #watch(name: string, from: RTCDataChannel, to: RTCDataChannel, isOrdered: boolean): void {
    const ledger = new Ledger(name, { isReliable: true, isOrdered });
    const send = from.send.bind(from);
    from.send = (data) => {
      ledger.noteSent(data as string);
      send(data);
    };
    to.onmessage = ({ data }) => ledger.noteReceived(data);
    this.#ledgers.push(ledger);
    this.#channels.push(from);
  }
}

describe('a machine that moves from Wi-Fi to a mobile network', () => {
  it.each(['a', 'b'] as const)('comes back within a second of a restart by %s', async (restarting) => {
    using talk = new Talk();
    await talk.for(3000);
    expect(talk.a.connectionState).toBe('connected');
    talk.moveToMobile();
    talk[restarting].restartIce();
    // Long before anybody misses an answer.
    expect(await talk.for(1000, talk.isOnMobile)).toBe(true);
    expect(talk.a.localDescription?.sdp).not.toContain(WIFI);
    expect(talk.a.localDescription?.sdp).toContain(MOBILE);
    const before = talk.heard;
    await talk.for(1000);
    expect(talk.heard - before).toBeGreaterThan(100);
    expect(await talk.verdict()).toEqual([]);
    expect([talk.a.connectionState, talk.b.connectionState]).toEqual(['connected', 'connected']);
  });

  it('comes back by itself too once it misses answers, told by candidates that come late', async () => {
    using talk = new Talk();
    await talk.for(20_000);
    talk.moveToMobile();
    expect(await talk.for(15_000, talk.isOnMobile)).toBe(true);
    expect(await talk.verdict()).toEqual([]);
    expect([talk.a.connectionState, talk.b.connectionState]).toEqual(['connected', 'connected']);
  });

  it('says that it gathers again, tells what it finds by its new name, and says when that was all', async () => {
    using talk = new Talk();
    await talk.for(3000);
    const told: string[] = [];
    talk.a.onicegatheringstatechange = () => told.push(talk.a.iceGatheringState);
    talk.a.addEventListener('icecandidate', (event) => {
      const { candidate } = event as unknown as { candidate: { candidate: string; usernameFragment: string } | null };
      told.push(candidate ? `${candidate.candidate.split(' ')[4]} ${candidate.usernameFragment}` : 'none');
    });
    talk.moveToMobile();
    talk.a.restartIce();
    await talk.for(1000);
    const fragment = /a=ice-ufrag:(\S+)/.exec(talk.a.localDescription?.sdp ?? '')?.[1];
    expect(told[0]).toBe('gathering');
    expect(told.slice(-2)).toEqual(['complete', 'none']);
    const candidates = told.slice(1, -2);
    expect(new Set(candidates)).toEqual(new Set([`${MOBILE} ${fragment}`, `20.0.3.1 ${fragment}`]));
  });
});

/** Of the pair in use. */
async function localAddress(connection: RTCPeerConnection): Promise<unknown> {
  const reports = await connection.getStats();
  const pair = reports.get(String(reports.get('transport')?.['selectedCandidatePairId']));
  return reports.get(String(pair?.['localCandidateId']))?.['address'];
}

const isLinux = process.platform === 'linux';
const hasLoopback = Object.values(networkInterfaces()).some((each) =>
  each?.some(({ address }) => address === '127.0.0.1'),
);

describe.runIf(isLinux && hasLoopback)('real sockets', () => {
  /** A machine whose address on loopback changes. */
  class MovingSockets extends NodeSockets {
    address = '127.0.0.1';
    override localAddresses(): readonly string[] {
      return [this.address];
    }
  }

  it('follow a machine to its new address at a restart, under traffic', async () => {
    const sockets = new MovingSockets();
    using left = closing(new RTCPeerConnection({ sockets }));
    using right = closing(new RTCPeerConnection({ addresses: ['127.0.0.1'] }));
    const [a, b] = [left.connection, right.connection];
    const negotiate = async () => {
      await a.setLocalDescription();
      await b.setRemoteDescription(a.localDescription ?? { type: '' });
      await b.setLocalDescription();
      await a.setRemoteDescription(b.localDescription ?? { type: '' });
    };
    a.onicecandidate = ({ candidate }) => void b.addIceCandidate(candidate).catch(() => {});
    b.onicecandidate = ({ candidate }) => void a.addIceCandidate(candidate).catch(() => {});
    const [from, to] = [a, b].map((end) => end.createDataChannel('c', { negotiated: true, id: 0 })) as [
      RTCDataChannel,
      RTCDataChannel,
    ];
    const heard: string[] = [];
    to.onmessage = ({ data }) => heard.push(String(data));
    await negotiate();
    await until(() => from.readyState === 'open', 'the channel');
    const expected: string[] = [];
    const say = (count: number) => {
      for (let each = 0; each < count; each += 1) {
        expected.push(`${expected.length}`);
        from.send(`${expected.length - 1}`);
      }
    };
    say(50);
    sockets.address = '127.0.0.2';
    a.restartIce();
    await negotiate();
    say(50);
    await until(() => heard.length >= 100, 'all messages');
    await until(() => a.iceConnectionState === 'completed', 'the nomination');
    expect(await localAddress(a)).toBe('127.0.0.2');
    expect(heard).toEqual(expected);
  });
});

function closing(connection: RTCPeerConnection) {
  return { connection, [Symbol.dispose]: () => connection.close() };
}
