/** What the W3C says of the corners of `RTCPeerConnection` and `RTCDataChannel`, between two of ours. */

import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { type RTCDataChannel, RTCError, type RTCErrorEvent, RTCPeerConnection } from '../src/index.ts';

const opened: RTCPeerConnection[] = [];
afterEach(() => {
  for (const connection of opened.splice(0)) connection.close();
});

function make(options: ConstructorParameters<typeof RTCPeerConnection>[0] = {}): RTCPeerConnection {
  const connection = new RTCPeerConnection({ addresses: ['127.0.0.1'], ...options });
  opened.push(connection);
  return connection;
}

/** Two that are connected, and one channel between them. */
async function pair(options: ConstructorParameters<typeof RTCPeerConnection>[0] = {}) {
  const [left, right] = [make(options), make(options)];
  const channel = left.createDataChannel('c');
  const arrived = once(right as never, 'datachannel') as Promise<[{ channel: RTCDataChannel }]>;
  left.onicecandidate = ({ candidate }) => void right.addIceCandidate(candidate);
  right.onicecandidate = ({ candidate }) => void left.addIceCandidate(candidate);
  await left.setLocalDescription();
  await right.setRemoteDescription(left.localDescription ?? { type: '' });
  await right.setLocalDescription();
  await left.setRemoteDescription(right.localDescription ?? { type: '' });
  const [{ channel: other }] = await arrived;
  if (channel.readyState !== 'open') await once(channel as never, 'open');
  return { left, right, channel, other };
}

const named = (name: string) => expect.objectContaining({ name });
const nextEvent = async (target: EventTarget, name: string) => ((await once(target as never, name)) as [Event])[0];

describe('createDataChannel', () => {
  it('refuses what the W3C refuses, by the name that it says', async () => {
    const left = make();
    const long = 'é'.repeat(32_768);
    expect(() => left.createDataChannel(long)).toThrow(TypeError);
    expect(() => left.createDataChannel('c', { protocol: long })).toThrow(TypeError);
    expect(() => left.createDataChannel(long.slice(1), { protocol: long.slice(1) })).not.toThrow();
    expect(() => left.createDataChannel('c', { maxRetransmits: 1, maxPacketLifeTime: 1 })).toThrow(TypeError);
    expect(() => left.createDataChannel('c', { maxRetransmits: 65_536 })).toThrow(TypeError);
    expect(() => left.createDataChannel('c', { maxPacketLifeTime: -1 })).toThrow(TypeError);
    expect(() => left.createDataChannel('c', { negotiated: true })).toThrow(TypeError);
    expect(() => left.createDataChannel('c', { negotiated: true, id: 65_535 })).toThrow(TypeError);
    left.createDataChannel('c', { negotiated: true, id: 7 });
    expect(() => left.createDataChannel('c', { negotiated: true, id: 7 })).toThrow(named('OperationError'));
    // Without `negotiated` an id is ignored.
    expect(left.createDataChannel('c', { id: 7 }).id).toBeNull();
    left.close();
    expect(() => left.createDataChannel('c')).toThrow(named('InvalidStateError'));
  });

  it('on a connection that stands gives a channel that is connecting, and tells later that it is open', async () => {
    const { left, right } = await pair();
    const told: string[] = [];
    const closed = new Promise<void>((resolve) => {
      right.ondatachannel = ({ channel: other }) => {
        told.push(other.readyState);
        for (const name of ['open', 'message', 'closing', 'close']) other.addEventListener(name, () => told.push(name));
        other.onclose = () => resolve();
      };
    });
    const channel = left.createDataChannel('late');
    expect(channel.readyState).toBe('connecting');
    expect(() => channel.send('early')).toThrow(named('InvalidStateError'));
    await nextEvent(channel, 'open');
    channel.send('a');
    channel.send('b');
    channel.close();
    await closed;
    expect(told).toEqual(['open', 'open', 'message', 'message', 'closing', 'close']);
  });

  it('takes ids that are in use for an OperationError also while connected, and ids of closed channels anew', async () => {
    const { left, right, channel } = await pair();
    expect(() => left.createDataChannel('c', { negotiated: true, id: channel.id ?? 0 })).toThrow(
      named('OperationError'),
    );
    const [mine, theirs] = [left, right].map((end) => end.createDataChannel('n', { negotiated: true, id: 500 }));
    mine?.close();
    await nextEvent(theirs as EventTarget, 'close');
    if (mine?.readyState !== 'closed') await nextEvent(mine as EventTarget, 'close');
    expect(left.createDataChannel('n', { negotiated: true, id: 500 }).id).toBe(500);
  });
});

describe('a channel', () => {
  it('counts bufferedAmount to the byte, tells its low mark once, and keeps the amount when the connection closes', async () => {
    const { left, channel, other } = await pair();
    const low: number[] = [];
    channel.bufferedAmountLowThreshold = 1000;
    channel.onbufferedamountlow = () => low.push(channel.bufferedAmount);
    channel.send('é'.repeat(500));
    channel.send(new Uint8Array(2000));
    channel.send(new Blob(['12345']));
    channel.send('behind the blob');
    channel.send('');
    expect(channel.bufferedAmount).toBe(1000 + 2000 + 5 + 15);
    const got: unknown[] = [];
    await new Promise<void>((resolve) => {
      other.onmessage = ({ data }) => {
        got.push(typeof data === 'string' ? data.length : (data as ArrayBuffer).byteLength);
        if (got.length === 5) resolve();
      };
    });
    expect(got).toEqual([500, 2000, 5, 15, 0]);
    expect(channel.bufferedAmount).toBe(0);
    expect(low).toHaveLength(1);
    expect(low[0]).toBeLessThanOrEqual(1000);
    for (let sent = 0; sent < 100; sent += 1) channel.send(new Uint8Array(100_000));
    left.close();
    expect(channel.bufferedAmount).toBe(10_000_000);
    expect(channel.readyState).toBe('closed');
  });

  it('gives bytes as buffer or as blob, and ignores a type that there is not', async () => {
    const { channel, other } = await pair();
    expect(other.binaryType).toBe('arraybuffer');
    channel.send(Uint8Array.of(1, 2));
    expect((await nextEvent(other, 'message')) as MessageEvent).toMatchObject({ data: Uint8Array.of(1, 2).buffer });
    other.binaryType = 'blob';
    other.binaryType = 'text' as 'blob';
    expect(other.binaryType).toBe('blob');
    channel.send(Uint8Array.of(3, 4));
    const { data } = (await nextEvent(other, 'message')) as MessageEvent & { data: Blob };
    expect(data).toBeInstanceOf(Blob);
    expect(new Uint8Array(await data.arrayBuffer())).toEqual(Uint8Array.of(3, 4));
  });

  it('that closes sends first what was queued, blobs too, and takes nothing more', async () => {
    const { channel, other } = await pair();
    const sizes: number[] = [];
    other.binaryType = 'arraybuffer';
    other.onmessage = ({ data }) => sizes.push((data as ArrayBuffer).byteLength);
    for (let sent = 0; sent < 50; sent += 1) channel.send(new Uint8Array(60_000));
    channel.send(new Blob([new Uint8Array(7)]));
    channel.close();
    expect(channel.readyState).toBe('closing');
    expect(() => channel.send('late')).toThrow(named('InvalidStateError'));
    await nextEvent(channel, 'close');
    expect(sizes).toHaveLength(51);
    expect(sizes.at(-1)).toBe(7);
  });

  it('refuses more than the peer takes with a TypeError and stays open', async () => {
    const { left, channel } = await pair({ maxMessageBytes: 5000 });
    expect(left.sctp).toMatchObject({ state: 'connected', maxMessageSize: 5000, maxChannels: 65_535 });
    expect(() => channel.send('é'.repeat(2501))).toThrow(TypeError);
    expect(() => channel.send(new Blob([new Uint8Array(5001)]))).toThrow(TypeError);
    expect(channel.bufferedAmount).toBe(0);
    channel.send('é'.repeat(2500));
    expect(channel.readyState).toBe('open');
  });

  it('of a connection that the peer closes tells an error and its end; of one that we close, nothing', async () => {
    const { left, channel, other } = await pair();
    const told: string[] = [];
    for (const name of ['error', 'closing', 'close']) channel.addEventListener(name, () => told.push(name));
    const error = nextEvent(other, 'error') as Promise<RTCErrorEvent>;
    const closed = nextEvent(other, 'close');
    left.close();
    expect((await error).error).toBeInstanceOf(RTCError);
    expect((await error).error).toMatchObject({ name: 'OperationError', errorDetail: 'sctp-failure' });
    await closed;
    expect([channel.readyState, other.readyState]).toEqual(['closed', 'closed']);
    expect(told).toEqual([]);
  });

  it('that is closed before there is a connection says so, and never opens', async () => {
    const left = make();
    const channel = left.createDataChannel('c');
    let isToldAtOnce = false;
    const closed = nextEvent(channel, 'close').then(() => (isToldAtOnce = true));
    channel.close();
    expect(isToldAtOnce).toBe(false);
    await closed;
    expect(channel.readyState).toBe('closed');
  });
});

describe('addIceCandidate', () => {
  it('refuses what the W3C refuses, by the name that it says', async () => {
    const { left, right } = await pair();
    const line = 'candidate:1 1 udp 1 127.0.0.1 9 typ host';
    const add = (candidate: object) => left.addIceCandidate({ candidate: line, sdpMid: '0', ...candidate });
    await expect(add({ sdpMid: null })).rejects.toThrow(TypeError);
    await expect(add({ candidate: 'none' })).rejects.toMatchObject({ name: 'OperationError' });
    await expect(add({ sdpMid: '1' })).rejects.toMatchObject({ name: 'OperationError' });
    await expect(add({ sdpMid: null, sdpMLineIndex: 1 })).rejects.toMatchObject({ name: 'OperationError' });
    await expect(add({ usernameFragment: 'other' })).rejects.toMatchObject({ name: 'OperationError' });
    await expect(add({ sdpMid: null, sdpMLineIndex: 0 })).resolves.toBeUndefined();
    await expect(make().addIceCandidate({ candidate: line, sdpMid: '0' })).rejects.toMatchObject({
      name: 'InvalidStateError',
    });
    right.close();
    await expect(right.addIceCandidate(null)).rejects.toMatchObject({ name: 'InvalidStateError' });
  });

  it('passes over candidates of sections that were turned down', async () => {
    const [left, right] = [make(), make()];
    left.createDataChannel('c');
    await left.setLocalDescription();
    const sdp = left.localDescription?.sdp ?? '';
    const audio = 'm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:a\r\n';
    await right.setRemoteDescription({ type: 'offer', sdp: sdp.replace('m=application', `${audio}m=application`) });
    const candidate = 'candidate:1 1 udp 1 127.0.0.1 9 typ host';
    await expect(right.addIceCandidate({ candidate, sdpMid: 'a' })).resolves.toBeUndefined();
    await expect(right.addIceCandidate({ candidate, sdpMid: null, sdpMLineIndex: 1 })).resolves.toBeUndefined();
    await expect(right.addIceCandidate({ candidate, sdpMid: 'b' })).rejects.toMatchObject({ name: 'OperationError' });
    expect((await right.getStats()).get('connection')).toMatchObject({ dataChannelsOpened: 0 });
  });
});

describe('descriptions', () => {
  it('out of turn are refused with an InvalidStateError, and broken ones with an OperationError', async () => {
    const left = make();
    await expect(left.createAnswer()).rejects.toMatchObject({ name: 'InvalidStateError' });
    await expect(left.setLocalDescription({ type: 'answer', sdp: '' })).rejects.toMatchObject({
      name: 'InvalidStateError',
    });
    await expect(left.setRemoteDescription({ type: 'answer', sdp: 'v=0' })).rejects.toMatchObject({
      name: 'InvalidStateError',
    });
    await expect(left.setRemoteDescription({ type: 'offer', sdp: 'v=0' })).rejects.toMatchObject({
      name: 'OperationError',
    });
    await expect(left.setRemoteDescription({ type: 'nonsense', sdp: '' })).rejects.toThrow(TypeError);
    left.close();
    await expect(left.createOffer()).rejects.toMatchObject({ name: 'InvalidStateError' });
  });

  it('after a restart name candidates of the new credentials, on both sides', async () => {
    const { left, right } = await pair();
    left.restartIce();
    await left.setLocalDescription();
    await right.setRemoteDescription(left.localDescription ?? { type: '' });
    await right.setLocalDescription();
    for (const { localDescription } of [left, right]) {
      const sdp = localDescription?.sdp ?? '';
      const fragments = [...sdp.matchAll(/^a=candidate:.* ufrag (\S+)/gm)].map(([, fragment]) => fragment);
      expect(fragments).not.toEqual([]);
      expect(new Set(fragments)).toEqual(new Set([/a=ice-ufrag:(\S+)/.exec(sdp)?.[1]]));
    }
  });

  it('taken back leave the former one', async () => {
    const { left } = await pair();
    const former = left.localDescription;
    left.restartIce();
    await left.setLocalDescription();
    expect(left.localDescription?.sdp).not.toBe(former?.sdp);
    await left.setLocalDescription({ type: 'rollback' });
    expect(left.signalingState).toBe('stable');
    expect(left.localDescription?.type).toBe('offer');
  });

  it('keep a section that was turned down in its place, also in our own offers', async () => {
    const [left, right] = [make(), make()];
    left.createDataChannel('c');
    await left.setLocalDescription();
    const sdp = left.localDescription?.sdp ?? '';
    const audio = 'm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:a\r\n';
    await right.setRemoteDescription({ type: 'offer', sdp: sdp.replace('m=application', `${audio}m=application`) });
    await right.setLocalDescription();
    right.restartIce();
    await right.setLocalDescription();
    const sections = (right.localDescription?.sdp ?? '').split('\r\n').filter((line) => line.startsWith('m='));
    expect(sections).toEqual(['m=audio 0 UDP/TLS/RTP/SAVPF 111', 'm=application 9 UDP/DTLS/SCTP webrtc-datachannel']);
  });
});

describe('statistics', () => {
  it('count channels, messages and bytes', async () => {
    const { left, channel, other } = await pair();
    channel.send('é');
    await nextEvent(other, 'message');
    const report = (await left.getStats()).get(`channel-${channel.id}`);
    expect(report).toMatchObject({ messagesSent: 1, bytesSent: 2, messagesReceived: 0, state: 'open' });
    channel.close();
    await nextEvent(channel, 'close');
    expect((await left.getStats()).get('connection')).toMatchObject({ dataChannelsOpened: 1, dataChannelsClosed: 1 });
  });
});
