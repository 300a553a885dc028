/** Offers that are taken back (RFC 8829 §4.1.10.2), the own and the peer's, and what follows of it. */

import { once } from 'node:events';
import type { LinkSpec } from '@claw/scenarios';
import { openSimnet, type Simnet } from '@claw/simnet';
import { SimSockets } from '@claw/simnet/ice';
import { seededRandom } from '@claw/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { twoPaths } from '../../ice/test/networks.ts';
import { type RTCDataChannel, RTCPeerConnection } from '../src/index.ts';

const opened: RTCPeerConnection[] = [];
afterEach(() => {
  for (const connection of opened.splice(0)) connection.close();
});

const ROLLBACK = { type: 'rollback' };
const fragmentOf = (description: { readonly sdp: string } | null) =>
  /a=ice-ufrag:(\S+)/.exec(description?.sdp ?? '')?.[1];

class Two implements Disposable {
  readonly net: Simnet = openSimnet(twoPaths(), { seed: 1 });
  readonly a: RTCPeerConnection = this.#open('a', 1);
  readonly b: RTCPeerConnection = this.#open('b', 2);
  readonly channels: readonly RTCDataChannel[];
  readonly heard: string[] = [];

  constructor() {
    this.a.onicecandidate = ({ candidate }) => void this.b.addIceCandidate(candidate).catch(() => {});
    this.b.onicecandidate = ({ candidate }) => void this.a.addIceCandidate(candidate).catch(() => {});
    this.channels = [this.a, this.b].map((end) => end.createDataChannel('c', { negotiated: true, id: 0 }));
    for (const channel of this.channels) channel.onmessage = ({ data }) => this.heard.push(String(data));
  }

  async offer(from = this.a, to = this.b): Promise<void> {
    await from.setLocalDescription();
    await to.setRemoteDescription(from.localDescription ?? { type: '' });
  }

  async answer(from = this.b, to = this.a): Promise<void> {
    await from.setLocalDescription();
    await to.setRemoteDescription(from.localDescription ?? { type: '' });
  }

  pass(ms: number): Promise<void> {
    return this.net.run(this.net.nowMs + ms);
  }

  /** Each says a word; whether both heard the other's. */
  async talk(): Promise<boolean> {
    for (const channel of this.channels) channel.send('word');
    await this.pass(1000);
    return this.heard.splice(0).length === 2;
  }

  /** The state that it came to. */
  async cutFor(ms: number): Promise<string> {
    const set = (link: LinkSpec) => {
      for (const name of ['eth0', 'eth1'])
        this.net.apply({ do: 'set-link', atMs: 0, node: 'a', interface: name, direction: 'both', link });
    };
    set({ loss: { model: 'bernoulli', share: 1 } });
    await this.pass(ms);
    const state = this.a.iceConnectionState;
    set({});
    await this.pass(20_000);
    return state;
  }

  [Symbol.dispose](): void {
    this.a.close();
    this.b.close();
    this.net.close();
  }

  #open(name: string, seed: number): RTCPeerConnection {
    const host = this.net.host(name);
    return new RTCPeerConnection({ sockets: new SimSockets(host), clock: host.clock, random: seededRandom(seed) });
  }
}

async function connected(): Promise<Two> {
  const two = new Two();
  await two.offer();
  await two.answer();
  await two.pass(3000);
  expect(await two.talk()).toBe(true);
  return two;
}

describe('the first offer of the peer', () => {
  it.each(['setRemoteDescription', 'setLocalDescription'] as const)(
    'taken back by %s leaves nothing, and an own one can be made',
    async (by) => {
      using two = new Two();
      await two.offer();
      expect([two.b.signalingState, two.b.sctp, two.b.pendingRemoteDescription?.type]).toEqual([
        'have-remote-offer',
        null,
        'offer',
      ]);
      await two.b[by](ROLLBACK);
      expect([two.b.signalingState, two.b.remoteDescription, two.b.pendingRemoteDescription]).toEqual([
        'stable',
        null,
        null,
      ]);
      expect(two.b.iceGatheringState).toBe('new');
      await two.a.setLocalDescription(ROLLBACK);
      expect(two.a.localDescription).toBeNull();
      await two.offer(two.b, two.a);
      await two.answer(two.a, two.b);
      await two.pass(3000);
      expect(await two.talk()).toBe(true);
    },
  );
});

describe('a restart that the peer offers', () => {
  it('taken back changes nothing: the path goes on by the former credentials, and a later restart works', async () => {
    using two = await connected();
    const before = { local: two.b.localDescription?.sdp, remote: two.b.remoteDescription?.sdp };
    two.a.restartIce();
    await two.offer();
    expect(two.b.currentRemoteDescription?.sdp).toBe(before.remote);
    expect(two.b.pendingRemoteDescription?.sdp).not.toBe(before.remote);
    await two.pass(1000);
    await two.b.setRemoteDescription(ROLLBACK);
    expect([two.b.localDescription?.sdp, two.b.remoteDescription?.sdp]).toEqual([before.local, before.remote]);
    const { usernameFragment } = two.b.sctp?.transport.iceTransport.getRemoteParameters() ?? {};
    expect(usernameFragment).toBe(fragmentOf(two.b.currentRemoteDescription));
    await two.a.setLocalDescription(ROLLBACK);
    // Longer than consent lasts.
    await two.pass(40_000);
    expect([two.a.connectionState, two.b.connectionState]).toEqual(['connected', 'connected']);
    expect(await two.talk()).toBe(true);
    await two.offer();
    await two.answer();
    await two.pass(3000);
    expect(await two.talk()).toBe(true);
    expect(two.b.localDescription?.sdp).not.toBe(before.local);
  });
});

describe('an own restart', () => {
  it('taken back asks for negotiation again, and goes on by the former credentials until then', async () => {
    using two = await connected();
    const before = fragmentOf(two.a.localDescription);
    let asked = 0;
    two.a.onnegotiationneeded = () => (asked += 1);
    two.a.restartIce();
    await two.pass(1);
    expect(asked).toBe(1);
    await two.a.setLocalDescription();
    expect(fragmentOf(two.a.pendingLocalDescription)).not.toBe(before);
    expect(fragmentOf(two.a.currentLocalDescription)).toBe(before);
    await two.a.setLocalDescription(ROLLBACK);
    expect(fragmentOf(two.a.localDescription)).toBe(before);
    await two.pass(40_000);
    expect([two.a.connectionState, asked]).toEqual(['connected', 2]);
    expect(await two.talk()).toBe(true);
    // Also a path that is gone for longer than consent lasts is found again by them.
    expect(await two.cutFor(40_000)).toBe('failed');
    expect(await two.talk()).toBe(true);
    await two.offer();
    expect(fragmentOf(two.a.localDescription)).not.toBe(before);
    await two.answer();
    await two.pass(3000);
    expect(await two.talk()).toBe(true);
    expect(asked).toBe(2);
  });

  it('that gives way to an offer of the peer without one is made up for after its answer', async () => {
    using two = await connected();
    const before = fragmentOf(two.a.localDescription);
    let asked = 0;
    two.a.restartIce();
    await two.a.setLocalDescription();
    two.a.onnegotiationneeded = () => (asked += 1);
    const states: string[] = [];
    two.a.onsignalingstatechange = () => states.push(two.a.signalingState);
    await two.offer(two.b, two.a);
    expect(states).toEqual(['stable', 'have-remote-offer']);
    await two.answer(two.a, two.b);
    // The answer to an offer that is no restart must not be one.
    expect(fragmentOf(two.a.localDescription)).toBe(before);
    await two.pass(1);
    expect(asked).toBe(1);
    await two.offer();
    await two.answer();
    await two.pass(3000);
    expect(fragmentOf(two.a.localDescription)).not.toBe(before);
    expect(await two.talk()).toBe(true);
  });

  it('that gives way to a restart of the peer is done with its answer', async () => {
    using two = await connected();
    const before = fragmentOf(two.a.localDescription);
    let asked = 0;
    two.a.restartIce();
    two.b.restartIce();
    await two.a.setLocalDescription();
    await two.pass(1);
    two.a.onnegotiationneeded = () => (asked += 1);
    await two.offer(two.b, two.a);
    await two.answer(two.a, two.b);
    await two.pass(3000);
    expect(asked).toBe(0);
    expect(fragmentOf(two.a.localDescription)).not.toBe(before);
    expect(await two.talk()).toBe(true);
  });
});

describe('there is nothing to take back', () => {
  it('in a stable state, and a local description must be the one that was made last', async () => {
    const left = new RTCPeerConnection({ addresses: ['127.0.0.1'] });
    opened.push(left);
    for (const by of ['setLocalDescription', 'setRemoteDescription'] as const) {
      await expect(left[by](ROLLBACK)).rejects.toMatchObject({ name: 'InvalidStateError' });
    }
    left.createDataChannel('c');
    await once(left as never, 'negotiationneeded');
    const first = await left.createOffer();
    const offer = await left.createOffer();
    await expect(left.setLocalDescription(first)).rejects.toMatchObject({ name: 'InvalidModificationError' });
    const changed = { ...offer, sdp: offer.sdp.replace('a=setup:actpass', 'a=setup:active') };
    await expect(left.setLocalDescription(changed)).rejects.toMatchObject({ name: 'InvalidModificationError' });
    await left.setLocalDescription(offer);
    expect(left.signalingState).toBe('have-local-offer');
  });
});
