/** The agent against libjuice (node-datachannel): its ICE reaching "connected" on its own side is the proof. */

import { afterEach, describe, expect, it } from 'vitest';
import { formatCandidate, type IceTransport, parseCandidate } from '../src/index.ts';
import { nodeTransport, until, untilGathered, untilState } from './transports.ts';

/** What the test needs of node-datachannel, which is a dependency of other packages. */
interface Engine {
  readonly PeerConnection: new (
    name: string,
    options: { iceServers: string[]; bindAddress: string },
  ) => {
    close(): void;
    onIceStateChange(listener: (state: string) => void): void;
    onLocalDescription(listener: (sdp: string) => void): void;
    onLocalCandidate(listener: (candidate: string) => void): void;
    setRemoteDescription(sdp: string, type: string): void;
    createDataChannel(label: string): unknown;
    gatheringState(): string;
    localDescription(): { sdp: string } | null;
  };
}

const NAME: string = 'node-datachannel';
let engine: Engine | undefined;
try {
  engine = (await import(NAME)) as Engine;
} catch {
  // Not built for this platform.
}

const FINGERPRINT = Array.from({ length: 32 }, () => 'AB').join(':');

function attribute(sdp: string, name: string): string {
  return new RegExp(`^a=${name}:(.*)$`, 'm').exec(sdp)?.[1]?.trim() ?? '';
}

/** A description of our side with what ICE needs and a certificate that nobody will see. */
function describeAgent(transport: IceTransport, setup: string): string {
  const { usernameFragment, password } = transport.agent.localParameters;
  return `${[
    'v=0',
    'o=- 1 1 IN IP4 127.0.0.1',
    's=-',
    't=0 0',
    'a=group:BUNDLE 0',
    'm=application 9 UDP/DTLS/SCTP webrtc-datachannel',
    'c=IN IP4 0.0.0.0',
    'a=mid:0',
    'a=sctp-port:5000',
    `a=ice-ufrag:${usernameFragment}`,
    `a=ice-pwd:${password}`,
    `a=setup:${setup}`,
    `a=fingerprint:sha-256 ${FINGERPRINT}`,
    ...transport.agent.localCandidates.map((candidate) => `a=${formatCandidate(candidate)}`),
    'a=end-of-candidates',
  ].join('\r\n')}\r\n`;
}

describe.skipIf(!engine)(`libjuice${engine ? '' : ' (skipped: node-datachannel cannot be loaded)'}`, () => {
  const cleanups: (() => unknown)[] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0)) await cleanup();
  });

  it.each([true, false])('connects with us, where the one who controls is us: %s', async (isOurs) => {
    const heard: Buffer[] = [];
    const events = { onDatagram: (bytes: Uint8Array) => heard.push(Buffer.from(bytes)) };
    const transport = nodeTransport({ controlling: isOurs, addresses: ['127.0.0.1'], tcpTypes: [], events });
    cleanups.push(() => transport.close());
    transport.gather();
    await untilGathered(transport);

    const peer = new engine!.PeerConnection('peer', { iceServers: [], bindAddress: '127.0.0.1' });
    cleanups.push(() => peer.close());
    const iceStates: string[] = [];
    let description = '';
    const lines: string[] = [];
    peer.onIceStateChange((state) => iceStates.push(state));
    peer.onLocalDescription((sdp) => {
      description = sdp;
    });
    peer.onLocalCandidate((candidate) => lines.push(candidate));
    if (isOurs) peer.setRemoteDescription(describeAgent(transport, 'actpass'), 'offer');
    else peer.createDataChannel('x');
    await until(() => description !== '' && peer.gatheringState() === 'complete', 'its description');
    if (!isOurs) peer.setRemoteDescription(describeAgent(transport, 'passive'), 'answer');
    const sdp = peer.localDescription()?.sdp ?? description;
    transport.act((agent, nowMs) =>
      agent.setRemoteParameters(
        { usernameFragment: attribute(sdp, 'ice-ufrag'), password: attribute(sdp, 'ice-pwd') },
        nowMs,
      ),
    );
    for (const line of new Set([...lines, ...(sdp.match(/^a=candidate:.*$/gm) ?? [])])) {
      const candidate = parseCandidate(line.trim());
      if (candidate) transport.addRemoteCandidate(candidate);
    }
    await untilState(transport, 'completed');
    await until(() => iceStates.includes('connected') || iceStates.includes('completed'), 'its ICE');
    // As DTLS client it says hello as soon as its ICE is connected: the first byte of a handshake record is 22.
    await until(() => heard.some((bytes) => bytes[0] === 22), 'its ClientHello');
    expect(transport.agent.stats().selected?.local.type).toBe('host');
  });
});
