/** `getConfiguration`, `setConfiguration` and `icecandidateerror` as the W3C says (WebRTC §4.4.1.6, §4.8.2). */

import { once } from 'node:events';
import { openSimnet, SIMNET_TURN, type Simnet } from '@claw/simnet';
import { SimSockets } from '@claw/simnet/ice';
import { seededRandom } from '@claw/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { behindNats } from '../../ice/test/networks.ts';
import { type RTCConfiguration, RTCPeerConnection, type RTCPeerConnectionIceErrorEvent } from '../src/index.ts';

const opened: RTCPeerConnection[] = [];
afterEach(() => {
  for (const connection of opened.splice(0)) connection.close();
});

function make(options: RTCConfiguration = {}): RTCPeerConnection {
  const connection = new RTCPeerConnection({ addresses: ['127.0.0.1'], ...options });
  opened.push(connection);
  return connection;
}

const named = (name: string) => expect.objectContaining({ name });
const turn = (urls: string) => ({ urls, username: 'me', credential: 'secret' });

describe('a configuration', () => {
  it('is given back with its defaults, and may be set to what it is', async () => {
    const left = make();
    expect(left.getConfiguration()).toEqual({
      iceServers: [],
      iceTransportPolicy: 'all',
      bundlePolicy: 'balanced',
      rtcpMuxPolicy: 'require',
      certificates: [],
      iceCandidatePoolSize: 0,
    });
    const certificates = [await RTCPeerConnection.generateCertificate('ecdsa')];
    const right = make({ certificates, iceServers: [turn('turn:example.org')], bundlePolicy: 'max-bundle' });
    const configuration = right.getConfiguration();
    expect(configuration.certificates).toEqual(certificates);
    right.setConfiguration(configuration);
    expect(right.getConfiguration()).toEqual(configuration);
  });

  it.each([
    ['SyntaxError', { iceServers: [{ urls: 'http://example.org' }] }],
    ['SyntaxError', { iceServers: [{ urls: [] }] }],
    ['SyntaxError', { iceServers: [{ urls: ['stun:example.org', 'stun:'] }] }],
    ['InvalidAccessError', { iceServers: [{ urls: 'turn:example.org' }] }],
    ['InvalidAccessError', { iceServers: [{ urls: 'turns:example.org', username: 'me' }] }],
    ['NotSupportedError', { iceServers: [{ urls: 'stuns:example.org' }] }],
    ['NotSupportedError', { iceServers: [turn('turns:example.org?transport=udp')] }],
    ['TypeError', { iceTransportPolicy: 'none' }],
    ['TypeError', { bundlePolicy: 'max' }],
    ['TypeError', { rtcpMuxPolicy: 'negotiate' }],
    ['TypeError', { iceCandidatePoolSize: 256 }],
    ['TypeError', { iceCandidatePoolSize: -1 }],
  ])('is refused with a %s, new or changed: %j', (name, configuration) => {
    const wrong = configuration as RTCConfiguration;
    expect(() => new RTCPeerConnection(wrong)).toThrow(named(name));
    const left = make({ iceServers: [{ urls: 'stun:example.org' }] });
    const before = left.getConfiguration();
    expect(() => left.setConfiguration(wrong)).toThrow(named(name));
    expect(left.getConfiguration()).toEqual(before);
  });

  it('may change neither its certificates nor its bundle policy, and its pool only before a description', async () => {
    const certificates = [await RTCPeerConnection.generateCertificate('ecdsa')];
    const left = make({ certificates, bundlePolicy: 'max-bundle' });
    const set = (configuration: RTCConfiguration) => () =>
      left.setConfiguration({ bundlePolicy: 'max-bundle', ...configuration });
    const modification = named('InvalidModificationError');
    expect(set({ certificates: [await RTCPeerConnection.generateCertificate('ecdsa')] })).toThrow(modification);
    expect(set({ certificates: [] })).toThrow(modification);
    expect(set({ bundlePolicy: 'balanced' })).toThrow(modification);
    expect(set({ certificates, iceCandidatePoolSize: 2 })).not.toThrow();
    left.createDataChannel('c');
    await left.setLocalDescription();
    expect(set({ iceCandidatePoolSize: 3 })).toThrow(modification);
    expect(set({ iceCandidatePoolSize: 2 })).not.toThrow();
    left.close();
    expect(set({})).toThrow(named('InvalidStateError'));
  });

  it('with a certificate whose time is over is refused', async () => {
    const certificates = [await RTCPeerConnection.generateCertificate('ecdsa')];
    const clock = { now: () => Date.UTC(2050, 0) } as never;
    expect(() => new RTCPeerConnection({ certificates, clock })).toThrow(named('InvalidAccessError'));
  });
});

describe('servers and policy', () => {
  function open(net: Simnet, name: string, options: RTCConfiguration = {}): RTCPeerConnection {
    const host = net.host(name);
    const sockets = new SimSockets(host);
    return make({ addresses: undefined, sockets, clock: host.clock, random: seededRandom(name.length), ...options });
  }

  const typesOf = ({ localDescription }: RTCPeerConnection) =>
    new Set([...(localDescription?.sdp ?? '').matchAll(/ typ (\S+)/g)].map(([, type]) => type));

  it('that are set before the first description are those of the first gathering', async () => {
    using net = openSimnet(behindNats({}), { seed: 1 });
    const a = open(net, 'a', { iceTransportPolicy: 'relay' });
    a.setConfiguration({ iceServers: [{ urls: 'stun:20.0.0.10' }] });
    a.createDataChannel('c');
    await a.setLocalDescription();
    await net.run(1000);
    expect(typesOf(a)).toEqual(new Set(['host', 'srflx']));
  });

  it('that are set later wait for a restart, under which nothing is lost', async () => {
    using net = openSimnet(behindNats({}), { seed: 1 });
    const iceServers = [{ urls: 'stun:20.0.0.10' }];
    const [a, b] = [open(net, 'a', { iceServers }), open(net, 'b', { iceServers })];
    a.onicecandidate = ({ candidate }) => void b.addIceCandidate(candidate).catch(() => {});
    b.onicecandidate = ({ candidate }) => void a.addIceCandidate(candidate).catch(() => {});
    const [from, to] = [a, b].map((end) => end.createDataChannel('c', { negotiated: true, id: 0 }));
    const heard: string[] = [];
    if (to) to.onmessage = ({ data }) => heard.push(String(data));
    const negotiate = async () => {
      await a.setLocalDescription();
      await b.setRemoteDescription(a.localDescription ?? { type: '' });
      await b.setLocalDescription();
      await a.setRemoteDescription(b.localDescription ?? { type: '' });
      await net.run(net.nowMs + 2000);
    };
    await negotiate();
    expect(from?.readyState).toBe('open');
    const { username, credential } = SIMNET_TURN;
    const relay = { urls: 'turn:20.0.0.10', username, credential };
    a.setConfiguration({ iceServers: [relay], iceTransportPolicy: 'relay' });
    from?.send('one');
    await negotiate();
    expect(typesOf(a)).toEqual(new Set(['host', 'srflx']));
    from?.send('two');
    a.restartIce();
    await negotiate();
    from?.send('three');
    await net.run(net.nowMs + 1000);
    expect(typesOf(a)).toEqual(new Set(['relay']));
    expect(a.sctp?.transport.iceTransport.getSelectedCandidatePair()?.local).toMatchObject({
      type: 'relay',
      relayProtocol: 'udp',
      url: relay.urls,
    });
    expect(heard).toEqual(['one', 'two', 'three']);
  });
});

describe('icecandidateerror', () => {
  it('tells of a server that nobody answers from, before gathering is complete', async () => {
    using net = openSimnet(behindNats({}), { seed: 1 });
    const host = net.host('a');
    const iceServers = [{ urls: 'stun:20.0.0.99' }, { urls: 'stun:stun.example.org' }, { urls: 'stun:20.0.0.10' }];
    const a = make({ addresses: undefined, sockets: new SimSockets(host), clock: host.clock, iceServers });
    const told: unknown[] = [];
    a.onicecandidateerror = ({ url, errorCode, address, port }) => told.push([url, errorCode, address, port]);
    a.onicegatheringstatechange = () => told.push(a.iceGatheringState);
    a.createDataChannel('c');
    await a.setLocalDescription();
    await net.run(30_000);
    expect(told).toEqual([
      'gathering',
      ['stun:stun.example.org', 701, null, null],
      ['stun:20.0.0.99', 701, null, null],
      'complete',
    ]);
  });

  it('tells of a server that refuses, by its own words and code', async () => {
    using net = openSimnet(behindNats({}), { seed: 1 });
    const host = net.host('a');
    for (const iceTransportPolicy of ['all', 'relay'] as const) {
      const iceServers = [{ urls: 'turn:20.0.0.10', username: 'nobody', credential: 'wrong' }];
      const sockets = new SimSockets(host);
      const a = make({ addresses: undefined, sockets, clock: host.clock, iceServers, iceTransportPolicy });
      const error = once(a as never, 'icecandidateerror') as Promise<[RTCPeerConnectionIceErrorEvent]>;
      a.createDataChannel('c');
      await a.setLocalDescription();
      await net.run(net.nowMs + 1000);
      const [{ errorCode, errorText, url, address, port }] = await error;
      expect([errorCode, url]).toEqual([401, 'turn:20.0.0.10']);
      expect(errorText).not.toBe('');
      // Where only relays are shown our address is not.
      if (iceTransportPolicy === 'all') expect([address, port]).toEqual(['192.168.1.10', expect.any(Number)]);
      else expect([address, port]).toEqual([null, null]);
    }
  });
});
