/** The reports of `getStats` (W3C Identifiers for WebRTC's Statistics API), as far as data has any. */

import { fingerprintOf } from '@claw/dtls';
import type { CandidateFacts, PairFacts } from '@claw/ice';
import type { PeerSession } from './peer-session.ts';
import type { RTCDataChannel } from './rtc-data-channel.ts';

export type StatsReport = Readonly<Record<string, unknown>> & {
  readonly id: string;
  readonly type: string;
  /** Milliseconds since 1970. */
  readonly timestamp: number;
};

interface Channels {
  readonly opened: number;
  readonly closed: number;
  readonly open: Iterable<RTCDataChannel>;
}

const TRANSPORT = 'transport';
const TLS_VERSIONS = { '1.2': 'FEFD', '1.3': 'FEFC' } as const;

export async function collectStats(
  session: PeerSession,
  channels: Channels,
  iceState: string,
): Promise<Map<string, StatsReport>> {
  const timestamp = session.wallClockMs;
  const reports = new Map<string, StatsReport>();
  const add = (id: string, type: string, facts: Readonly<Record<string, unknown>>) =>
    reports.set(id, { id, type, timestamp, ...facts });
  add('connection', 'peer-connection', { dataChannelsOpened: channels.opened, dataChannelsClosed: channels.closed });
  const pairs = session.transport.ice?.agent.stats().pairs ?? [];
  for (const pair of pairs) addPair(pair, add);
  const selected = pairs.find(({ isSelected }) => isSelected);
  if (selected) {
    add(TRANSPORT, 'transport', {
      ...transportStats(session, pairs, iceState),
      selectedCandidatePairId: `pair-${selected.id}`,
    });
  }
  const { localCertificate, peerCertificate } = session;
  add('local-certificate', 'certificate', certificateStats(localCertificate));
  if (peerCertificate) add('remote-certificate', 'certificate', certificateStats(peerCertificate));
  for (const channel of channels.open) {
    const { label, protocol, id, readyState, traffic } = channel;
    add(`channel-${id ?? label}`, 'data-channel', {
      ...{ label, protocol, dataChannelIdentifier: id, state: readyState },
      ...traffic,
    });
  }
  return reports;
}

function addPair(
  pair: PairFacts,
  add: (id: string, type: string, facts: Readonly<Record<string, unknown>>) => void,
): void {
  const { id, state, priority, roundTripMs } = pair;
  const { bytesSent, bytesReceived, packetsSent, packetsReceived } = pair;
  add(`local-${id}`, 'local-candidate', candidateStats(pair.local));
  add(`remote-${id}`, 'remote-candidate', candidateStats(pair.remote));
  add(`pair-${id}`, 'candidate-pair', {
    ...{ transportId: TRANSPORT, localCandidateId: `local-${id}`, remoteCandidateId: `remote-${id}` },
    ...{ state, nominated: pair.isNominated, priority: Number(priority) },
    ...{ bytesSent, bytesReceived, packetsSent, packetsReceived },
    requestsSent: pair.checksSent,
    requestsReceived: pair.checksReceived,
    responsesReceived: pair.answersReceived,
    totalRoundTripTime: pair.totalRoundTripMs / 1000,
    ...(roundTripMs === undefined ? {} : { currentRoundTripTime: roundTripMs / 1000 }),
  });
}

function transportStats({ transport, peerCertificate }: PeerSession, pairs: readonly PairFacts[], iceState: string) {
  const { dtlsState, security } = transport;
  const sum = (of: 'bytesSent' | 'bytesReceived' | 'packetsSent' | 'packetsReceived') =>
    pairs.reduce((total, pair) => total + pair[of], 0);
  return {
    ...{ bytesSent: sum('bytesSent'), bytesReceived: sum('bytesReceived') },
    ...{ packetsSent: sum('packetsSent'), packetsReceived: sum('packetsReceived') },
    ...{ dtlsState, iceState, localCertificateId: 'local-certificate' },
    ...(peerCertificate ? { remoteCertificateId: 'remote-certificate' } : {}),
    ...(security
      ? { tlsVersion: TLS_VERSIONS[security.version], dtlsCipher: security.cipher, dtlsRole: security.role }
      : {}),
  };
}

function certificateStats(der: Buffer): Readonly<Record<string, unknown>> {
  const { algorithm, value } = fingerprintOf(der);
  const fingerprint = (value.toString('hex').toUpperCase().match(/../g) ?? []).join(':');
  return { fingerprint, fingerprintAlgorithm: algorithm, base64Certificate: der.toString('base64') };
}

function candidateStats({ type, protocol, address, port, relayProtocol }: CandidateFacts) {
  return {
    ...{ transportId: TRANSPORT, candidateType: type, protocol, address, port },
    ...(relayProtocol ? { relayProtocol } : {}),
  };
}
