/** Cells of the connection: set-up, restart, glare. */

import { expect } from 'vitest';
import { digest, makeMessage, type Recipe } from '../agent.ts';
import { type Cell, type CellName, connect, directions } from '../cell.ts';
import type { Meeting } from '../meeting.ts';

const SHORT: Recipe = { kind: 'text', size: 40, seed: 1 };
const TRAFFIC = 60;
/** What the W3C makes mandatory (WebRTC §8.6) of the reports that a data connection has. */
const MANDATORY_STATS = {
  'peer-connection': ['dataChannelsOpened', 'dataChannelsClosed'],
  // prettier-ignore
  'data-channel': [
    'label',
    'protocol',
    'dataChannelIdentifier',
    'state',
    'messagesSent',
    'bytesSent',
    'messagesReceived',
    'bytesReceived',
  ],
  transport: ['bytesSent', 'bytesReceived', 'selectedCandidatePairId', 'localCertificateId', 'remoteCertificateId'],
  // prettier-ignore
  'candidate-pair': [
    'transportId',
    'localCandidateId',
    'remoteCandidateId',
    'state',
    'nominated',
    'bytesSent',
    'bytesReceived',
    'totalRoundTripTime',
    'currentRoundTripTime',
  ],
  'local-candidate': ['address', 'port', 'protocol', 'candidateType'],
  'remote-candidate': ['address', 'port', 'protocol', 'candidateType'],
  certificate: ['fingerprint', 'fingerprintAlgorithm', 'base64Certificate'],
} as const;

async function greet(meeting: Meeting, label: string): Promise<void> {
  for (const { from, to } of directions(meeting)) {
    await from.send(label, SHORT);
    expect(await to.take(label, 1)).toEqual([digest(makeMessage(SHORT))]);
  }
}

/** Messages both ways before, across and after the restart; none is lost, none comes twice, all in order. */
async function restart(meeting: Meeting, by: 'we' | 'they'): Promise<void> {
  await connect(meeting);
  const before = usernameFragments(meeting);
  const recipes = Array.from({ length: 3 * TRAFFIC }, (_, seed): Recipe => ({ kind: 'bytes', size: 3000, seed }));
  const part = (at: number) => recipes.slice(at * TRAFFIC, (at + 1) * TRAFFIC);
  const send = (at: number) => directions(meeting).map(({ from }) => from.send('first', ...part(at)));
  await Promise.all(send(0));
  await meeting[by].restart();
  await Promise.all([meeting.negotiate(by), ...send(1)]);
  await Promise.all(send(2));
  for (const { to } of directions(meeting)) {
    expect(await to.take('first', recipes.length)).toEqual(recipes.map((recipe) => digest(makeMessage(recipe))));
    expect(await to.reached('connected', 'failed')).toBe('connected');
  }
  const after = usernameFragments(meeting);
  for (const [at, fragment] of after.entries()) expect(fragment).not.toBe(before[at]);
  // The pair in use is one of the new credentials': the old ones are forgotten by now.
  await greet(meeting, 'first');
}

async function tlsVersion({ we }: Meeting): Promise<unknown> {
  return (await we.stats()).find(({ type }) => type === 'transport')?.['tlsVersion'];
}

const usernameFragments = ({ we: { connection } }: Meeting) =>
  [connection.localDescription, connection.remoteDescription].map(
    (description) => /a=ice-ufrag:(\S+)/.exec(description?.sdp ?? '')?.[1],
  );

/** Both make a channel, and an offer, at the same moment; the pattern of perfect negotiation sorts it out. */
async function glare(meeting: Meeting, polite: 'we' | 'they', isRestart = false): Promise<void> {
  const { we, they } = meeting;
  meeting.connectSignals();
  await Promise.all([we.negotiate(polite === 'we'), they.negotiate(polite === 'they')]);
  await Promise.all([we.open('ours'), they.open('theirs')]);
  await Promise.all([we, they].flatMap((peer) => [peer.opened('ours'), peer.opened('theirs')]));
  await greet(meeting, 'ours');
  await Promise.all([we.settled(), they.settled()]);
  if (isRestart) {
    const former = usernameFragments(meeting).map(String);
    await Promise.all([we.restart(), they.restart()]);
    await Promise.all([we.settled(...former), they.settled(...former)]);
    await we.reached('connected');
  }
  await greet(meeting, 'theirs');
  // Chromium tells candidates of the offer that it took back also after its answer, which the W3C has refused.
  const late = 'OperationError: the candidate is of another description';
  const errors = [...(await we.errors()), ...(await they.errors())];
  expect(errors.filter((error) => !isRestart || error !== late)).toEqual([]);
}

async function open(meeting: Meeting): Promise<void> {
  await connect(meeting);
  await greet(meeting, 'first');
  await Promise.all([meeting.we.reached('connected'), meeting.they.reached('connected')]);
  expect(await tlsVersion(meeting)).toBe(meeting.kind.dtls === '1.3' ? 'FEFC' : 'FEFD');
  expect(meeting.errors).toEqual([]);
}

async function openOverDtls12(meeting: Meeting): Promise<void> {
  await connect(meeting);
  await greet(meeting, 'first');
  expect(await tlsVersion(meeting)).toBe('FEFD');
}

async function openByWholeDescriptions(meeting: Meeting): Promise<void> {
  await meeting.offerer.open('first');
  await meeting.negotiateWhole();
  await meeting.answerer.opened('first');
  await greet(meeting, 'first');
}

async function readStatistics(meeting: Meeting): Promise<void> {
  const { we, they } = meeting;
  await connect(meeting);
  await greet(meeting, 'first');
  await we.reached('connected');
  const reports = await we.stats();
  for (const [type, names] of Object.entries(MANDATORY_STATS)) {
    const ofType = reports.filter((report) => report['type'] === type);
    expect(ofType, type).not.toEqual([]);
    for (const name of names) expect(ofType[0], `${type}.${name}`).toHaveProperty(name);
  }
  const [channel] = reports.filter(({ type }) => type === 'data-channel');
  expect(channel).toMatchObject({ messagesSent: 1, messagesReceived: 1, bytesSent: 40, bytesReceived: 40 });
  const theirs = (await they.stats()).find(({ type }) => type === 'data-channel');
  if (theirs) expect(theirs['dataChannelIdentifier']).toBe(channel?.['dataChannelIdentifier']);
}

async function turnDownSound(meeting: Meeting): Promise<void> {
  const { we, they } = meeting;
  await they.addAudio();
  await they.open('first');
  await meeting.negotiate('they');
  await Promise.all([we.opened('first'), they.opened('first')]);
  await greet(meeting, 'first');
  // Our own offer keeps the place of what we turned down.
  await we.restart();
  await meeting.negotiate('we');
  await greet(meeting, 'first');
  expect(meeting.errors).toEqual([]);
}

export const connectionCells = {
  open: {
    gate: 'all',
    run: open,
  },
  'DTLS 1.2': {
    gate: 'all',
    options: () => ({ ours: { dtlsVersions: ['1.2'] } }),
    run: openOverDtls12,
  },
  'whole descriptions': {
    gate: 'none',
    run: openByWholeDescriptions,
  },
  statistics: {
    gate: 'they offer',
    run: readStatistics,
  },
  'ICE restart by us': { gate: 'we offer', run: (meeting) => restart(meeting, 'we') },
  'ICE restart by them': { gate: 'we offer', run: (meeting) => restart(meeting, 'they') },
  'glare, we are polite': { gate: 'we offer', run: (meeting) => glare(meeting, 'we') },
  'glare, they are polite': { gate: 'we offer', run: (meeting) => glare(meeting, 'they') },
  'glare of restarts, we are polite': { gate: 'none', run: (meeting) => glare(meeting, 'we', true) },
  'glare of restarts, they are polite': { gate: 'we offer', run: (meeting) => glare(meeting, 'they', true) },
  'sound turned down': {
    gate: 'they offer',
    run: turnDownSound,
  },
} satisfies Partial<Record<CellName, Cell>>;
