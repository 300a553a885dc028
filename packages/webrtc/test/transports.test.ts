/** The transports as objects (W3C WebRTC §5.5, §5.6, §6.1), and what candidates say of themselves. */

import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { type RTCErrorEvent, RTCIceCandidate, RTCPeerConnection, RTCSessionDescription } from '../src/index.ts';

const opened: RTCPeerConnection[] = [];
afterEach(() => {
  for (const connection of opened.splice(0)) connection.close();
});

function make(): RTCPeerConnection {
  const connection = new RTCPeerConnection({ addresses: ['127.0.0.1'] });
  opened.push(connection);
  return connection;
}

async function describePair(adjust = (sdp: string) => sdp) {
  const [left, right] = [make(), make()];
  const channel = left.createDataChannel('c', { priority: 'high' });
  left.onicecandidate = ({ candidate }) => void right.addIceCandidate(candidate);
  right.onicecandidate = ({ candidate }) => void left.addIceCandidate(candidate);
  await left.setLocalDescription();
  await right.setRemoteDescription(left.localDescription ?? { type: '' });
  await right.setLocalDescription();
  expect([left.sctp, right.sctp?.state]).toEqual([null, 'connecting']);
  const { type = '', sdp = '' } = right.localDescription ?? {};
  await left.setRemoteDescription({ type, sdp: adjust(sdp) });
  return { left, right, channel };
}

describe('the transports', () => {
  it('are there once both descriptions are, tell each change of theirs, and end with the connection', async () => {
    const { left, right, channel } = await describePair();
    const { sctp } = left;
    const dtls = sctp?.transport;
    const ice = dtls?.iceTransport;
    expect([sctp?.state, dtls?.state, ice?.component]).toEqual(['connecting', expect.any(String), 'rtp']);
    expect(left.sctp).toBe(sctp);
    const told: string[] = [];
    sctp?.addEventListener('statechange', () => told.push(`sctp ${sctp.state}`));
    dtls?.addEventListener('statechange', () => told.push(`dtls ${dtls.state}`));
    ice?.addEventListener('statechange', () => told.push(`ice ${ice.state}`));
    ice?.addEventListener('selectedcandidatepairchange', () => told.push('pair'));
    if (channel.readyState !== 'open') await once(channel as never, 'open');
    while (left.iceConnectionState !== 'completed') await once(left as never, 'iceconnectionstatechange');
    expect(told.filter((each) => each.startsWith('dtls')).at(-1)).toBe('dtls connected');
    expect(told.filter((each) => each.startsWith('sctp'))).toEqual(['sctp connected']);
    expect(told.filter((each) => each.startsWith('ice')).at(-1)).toBe('ice completed');
    expect(told).toContain('pair');
    expect([ice?.role, right.sctp?.transport.iceTransport.role]).toEqual(['controlling', 'controlled']);
    const pair = ice?.getSelectedCandidatePair();
    expect(pair?.local).toMatchObject({ type: 'host', protocol: 'udp', address: '127.0.0.1' });
    expect(ice?.getRemoteCandidates().map(({ port }) => port)).toContain(pair?.remote.port);
    expect(ice?.getLocalCandidates().map(({ candidate }) => candidate)).toContain(pair?.local.candidate);
    expect(ice?.getLocalParameters()).toEqual(right.sctp?.transport.iceTransport.getRemoteParameters());
    expect(dtls?.getRemoteCertificates().map(({ byteLength }) => byteLength > 100)).toEqual([true]);
    told.length = 0;
    left.close();
    expect([sctp?.state, dtls?.state, ice?.state]).toEqual(['closed', 'closed', 'closed']);
    expect(told).toEqual([]);
  });

  it('tell why DTLS failed before they tell that it did', async () => {
    const wrong = (sdp: string) =>
      sdp.replace(/(sha-256 )(..)/, (_, name, hex) => `${name}${hex === '00' ? '01' : '00'}`);
    const { left } = await describePair(wrong);
    const dtls = left.sctp?.transport;
    const told: string[] = [];
    const failed = new Promise<void>((resolve) => {
      dtls?.addEventListener('statechange', () => {
        told.push(dtls.state);
        if (dtls.state === 'failed') resolve();
      });
    });
    if (dtls) dtls.onerror = ({ error }: RTCErrorEvent) => told.push(error.errorDetail);
    await failed;
    expect(told.slice(-2)).toEqual(['fingerprint-failure', 'failed']);
  });
});

describe('a candidate', () => {
  it('says what its line says', () => {
    const line =
      'candidate:1 1 tcp 1518214911 192.0.2.1 9 typ srflx raddr 10.0.0.1 rport 5000 tcptype active ufrag abcd';
    expect(new RTCIceCandidate({ candidate: line, sdpMid: '0', usernameFragment: 'abcd' })).toMatchObject({
      foundation: '1',
      component: 'rtp',
      priority: 1_518_214_911,
      address: '192.0.2.1',
      protocol: 'tcp',
      port: 9,
      type: 'srflx',
      tcpType: 'active',
      relatedAddress: '10.0.0.1',
      relatedPort: 5000,
      usernameFragment: 'abcd',
      relayProtocol: null,
      url: null,
    });
    expect(new RTCIceCandidate({ candidate: 'nonsense', sdpMLineIndex: 0 })).toMatchObject({
      foundation: null,
      component: null,
    });
    expect(() => new RTCIceCandidate({ candidate: line })).toThrow(TypeError);
    const { candidate, sdpMid } = new RTCIceCandidate({ candidate: line, sdpMid: '0' }).toJSON();
    expect([candidate, sdpMid]).toEqual([line, '0']);
  });
});

describe('small things', () => {
  it('descriptions are objects, trickling is known once the peer has said it, and channels have a priority', async () => {
    const left = make();
    expect(left.canTrickleIceCandidates).toBeNull();
    const right = make();
    const channel = right.createDataChannel('c', { priority: 'medium' });
    expect(channel.priority).toBe('medium');
    await right.setLocalDescription();
    const { localDescription } = right;
    expect(localDescription).toBeInstanceOf(RTCSessionDescription);
    expect(JSON.parse(JSON.stringify(localDescription))).toEqual({ type: 'offer', sdp: localDescription?.sdp });
    const sdp = localDescription?.sdp ?? '';
    await left.setRemoteDescription({ type: 'offer', sdp: sdp.replace('trickle ', '') });
    expect(left.canTrickleIceCandidates).toBe(false);
    await left.setRemoteDescription({ type: 'offer', sdp });
    expect(left.canTrickleIceCandidates).toBe(true);
  });
});
