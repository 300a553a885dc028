import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { type RTCDataChannel, RTCPeerConnection } from '../src/index.ts';

const opened: RTCPeerConnection[] = [];
afterEach(() => {
  for (const connection of opened.splice(0)) connection.close();
});

function make(): RTCPeerConnection {
  const connection = new RTCPeerConnection({ addresses: ['127.0.0.1'] });
  opened.push(connection);
  return connection;
}

/** Candidates go over at once; descriptions when `negotiate` is called. */
function introduce(left: RTCPeerConnection, right: RTCPeerConnection): void {
  left.onicecandidate = ({ candidate }) => void right.addIceCandidate(candidate).catch(() => {});
  right.onicecandidate = ({ candidate }) => void left.addIceCandidate(candidate).catch(() => {});
}

async function negotiate(offerer: RTCPeerConnection, answerer: RTCPeerConnection): Promise<void> {
  await offerer.setLocalDescription();
  await answerer.setRemoteDescription(offerer.localDescription ?? { type: 'none' });
  await answerer.setLocalDescription();
  await offerer.setRemoteDescription(answerer.localDescription ?? { type: 'none' });
}

async function open(channel: RTCDataChannel): Promise<void> {
  if (channel.readyState !== 'open') await once(channel as never, 'open');
}

const nextMessage = async (channel: RTCDataChannel): Promise<unknown> =>
  ((await once(channel as never, 'message')) as [MessageEvent])[0].data;

describe('a peer connection of the W3C', () => {
  it('opens a channel in band, with the settings that it was made with', async () => {
    const [left, right] = [make(), make()];
    introduce(left, right);
    const channel = left.createDataChannel('label', {
      protocol: 'p',
      ordered: false,
      maxRetransmits: 3,
      priority: 'high',
    });
    const arrived = once(right as never, 'datachannel');
    await negotiate(left, right);
    const [{ channel: other }] = (await arrived) as [{ channel: RTCDataChannel }];
    expect(other).toMatchObject({
      label: 'label',
      protocol: 'p',
      ordered: false,
      maxRetransmits: 3,
      negotiated: false,
    });
    await open(channel);
    const text = nextMessage(other);
    channel.send('grüß');
    expect(await text).toBe('grüß');
    const empty = nextMessage(channel);
    other.send(new Uint8Array(0));
    expect(((await empty) as ArrayBuffer).byteLength).toBe(0);
    expect([left.connectionState, left.iceConnectionState, left.signalingState]).toEqual([
      'connected',
      'completed',
      'stable',
    ]);
  });

  it('asks for negotiation once, when its first channel is made', async () => {
    const left = make();
    let asked = 0;
    left.onnegotiationneeded = () => (asked += 1);
    left.createDataChannel('a');
    left.createDataChannel('b');
    await new Promise((resolve) => setImmediate(resolve));
    expect(asked).toBe(1);
  });

  it('when both offer, the polite one takes its offer back and answers', async () => {
    const [polite, other] = [make(), make()];
    introduce(polite, other);
    const channels = [
      polite.createDataChannel('c', { negotiated: true, id: 4 }),
      other.createDataChannel('c', { negotiated: true, id: 4 }),
    ];
    await Promise.all([polite.setLocalDescription(), other.setLocalDescription()]);
    await polite.setRemoteDescription(other.localDescription ?? { type: 'none' });
    expect(polite.signalingState).toBe('have-remote-offer');
    await polite.setLocalDescription();
    await other.setRemoteDescription(polite.localDescription ?? { type: 'none' });
    await Promise.all(channels.map(open));
    const message = nextMessage(channels[0] as RTCDataChannel);
    channels[1]?.send('through');
    expect(await message).toBe('through');
  });

  it('restarts ICE under a running channel, which loses nothing', async () => {
    const [left, right] = [make(), make()];
    introduce(left, right);
    const channels = [left, right].map((end) => end.createDataChannel('c', { negotiated: true, id: 0 }));
    await negotiate(left, right);
    await Promise.all(channels.map(open));
    const before = /a=ice-ufrag:(.*)/.exec(left.localDescription?.sdp ?? '')?.[1];
    const got: unknown[] = [];
    const all = new Promise<void>((resolve) => {
      (channels[1] as RTCDataChannel).onmessage = ({ data }) => {
        got.push(data);
        if (got.length === 200) resolve();
      };
    });
    for (let number = 0; number < 100; number += 1) channels[0]?.send(String(number));
    left.restartIce();
    await negotiate(left, right);
    for (let number = 100; number < 200; number += 1) channels[0]?.send(String(number));
    await all;
    expect(got).toEqual(Array.from({ length: 200 }, (_, number) => String(number)));
    expect(/a=ice-ufrag:(.*)/.exec(left.localDescription?.sdp ?? '')?.[1]).not.toBe(before);
    expect(left.connectionState).toBe('connected');
  });

  it('an answerer that repeats what it does not know, as libdatachannel does, is spoken to without extensions', async () => {
    const [left, right] = [make(), make()];
    introduce(left, right);
    const channel = left.createDataChannel('c');
    await left.setLocalDescription();
    const { sdp = '' } = left.localDescription ?? {};
    const extensions = /a=x-max-datagram-size:.*\r\na=sctp-init:.*\r\n/;
    const repeated = extensions.exec(sdp)?.[0] ?? '';
    expect(repeated).not.toBe('');
    await right.setRemoteDescription({ type: 'offer', sdp: sdp.replace(extensions, '') });
    await right.setLocalDescription();
    const answer = right.localDescription?.sdp ?? '';
    expect(answer).not.toContain('sctp-init');
    const mirrored = answer.replace(/a=x-max-datagram-size:.*\r\n/, repeated);
    const arrived = once(right as never, 'datachannel');
    await left.setRemoteDescription({ type: 'answer', sdp: mirrored });
    await open(channel);
    const [{ channel: other }] = (await arrived) as [{ channel: RTCDataChannel }];
    const message = nextMessage(other);
    channel.send('arrives');
    expect(await message).toBe('arrives');
    expect(channel.readyState).toBe('open');
  });

  it('a peer with another certificate than its description says gets nothing', async () => {
    const [left, right] = [make(), make()];
    introduce(left, right);
    const channel = left.createDataChannel('c');
    let isOpen = false;
    channel.onopen = () => (isOpen = true);
    await left.setLocalDescription();
    await right.setRemoteDescription(left.localDescription ?? { type: 'none' });
    await right.setLocalDescription();
    const { sdp = '' } = right.localDescription ?? {};
    const failed = once(left as never, 'connectionstatechange').then(async () => {
      while (left.connectionState !== 'failed') await once(left as never, 'connectionstatechange');
    });
    await left.setRemoteDescription({
      type: 'answer',
      sdp: sdp.replace(/(sha-256 )(..)/, (_, name, hex) => `${name}${hex === '00' ? '01' : '00'}`),
    });
    await failed;
    expect(left.failure).toMatchObject({ code: 'ENGINE_FAILED', cause: { code: 'DTLS_FINGERPRINT_MISMATCH' } });
    expect(isOpen).toBe(false);
  });

  it('tells its path and its traffic in statistics', async () => {
    const [left, right] = [make(), make()];
    introduce(left, right);
    const channels = [left, right].map((end) => end.createDataChannel('c', { negotiated: true, id: 0 }));
    await negotiate(left, right);
    await Promise.all(channels.map(open));
    const reports = await left.getStats();
    const pairId = reports.get('transport')?.['selectedCandidatePairId'];
    expect(reports.get(String(pairId))).toMatchObject({ type: 'candidate-pair', state: 'succeeded' });
  });

  it('refuses what does not fit its state', async () => {
    const left = make();
    await expect(left.createAnswer()).rejects.toMatchObject({ code: 'ENGINE_STATE_INVALID' });
    await expect(left.setLocalDescription({ type: 'rollback' })).rejects.toMatchObject({
      code: 'ENGINE_STATE_INVALID',
    });
    left.close();
    await expect(left.createOffer()).rejects.toMatchObject({ code: 'ENGINE_CLOSED' });
    expect(left.connectionState).toBe('closed');
  });
});
