/** The peers of the matrix, each with the table of what it cannot do. What stands here was seen to fail, and why. */

import { networkInterfaces } from 'node:os';
import type { PeerKind } from './peer.ts';
import { findChromium } from './peers/browser.ts';
import { findEngine, launchChild } from './peers/child.ts';
import type { ChildEngine } from './peers/child-engines.ts';
import { launchChromium } from './peers/chromium.ts';

const MIB = 1024 * 1024;
const ONLY_12 = 'it speaks no other, so that every cell is one';
const TRIALS = ['WebRTC-Sctp-Snap', 'WebRTC-IceHandshakeDtls', 'WebRTC-EnableDtlsPqc'];
const LIBWEBRTC_LIMIT = 'libwebrtc takes and sends 262,144 bytes at most';

const hasNetwork = Object.values(networkInterfaces()).some((each) =>
  each?.some(({ family, internal }) => family === 'IPv4' && !internal),
);
/** Some leave loopback out, and then have no candidate. */
const noNetwork = hasNetwork ? undefined : 'there is no network but loopback';

function childKind(engine: ChildEngine, rest: Omit<PeerKind, 'name' | 'missing' | 'launch'>): PeerKind {
  const { version, missing } = findEngine(engine);
  return { name: `${engine} ${version}`.trim(), missing, launch: () => launchChild(engine), ...rest };
}

export const claw = childKind('claw', {
  dtls: '1.3',
  takesBytes: 262_144,
  greatConfig: { maxMessageBytes: 16 * MIB },
  exceptions: {},
});

export const chromium: PeerKind = {
  name: `Chromium ${findChromium()?.version ?? ''}`.trim(),
  missing: findChromium() ? noNetwork : 'there is no chromium',
  launch: () => launchChromium(),
  dtls: '1.3',
  takesBytes: 262_144,
  exceptions: { '16 MiB messages': LIBWEBRTC_LIMIT },
};

/** With what it can do and does not offer by default: SNAP, DTLS within STUN (SPED), ML-KEM. */
export const chromiumTrials: PeerKind = {
  ...chromium,
  name: `${chromium.name} with its trials`,
  launch: () => launchChromium([`--force-fieldtrials=${TRIALS.map((trial) => `${trial}/Enabled/`).join('')}`]),
};

const NO_RESTART = 'libdatachannel has no ICE restart';
const ONE_OFFER = 'its classes make one offer, and do not take it back';

export const nodeDataChannel = childKind('node-datachannel', {
  dtls: '1.2',
  takesBytes: 262_144,
  greatConfig: { maxMessageSize: 16 * MIB },
  exceptions: {
    'DTLS 1.2': ONLY_12,
    'ICE restart by us': NO_RESTART,
    'ICE restart by them': NO_RESTART,
    'glare, we are polite': ONE_OFFER,
    'glare, they are polite': ONE_OFFER,
    'glare of restarts, we are polite': NO_RESTART,
    'glare of restarts, they are polite': NO_RESTART,
    'sound turned down': 'its classes have no media',
    'messages before a close by us': 'libdatachannel forgets at a close what it has received and not yet handed over',
  },
  slow: ['16 MiB messages'],
  races: 'of its set-ups a few in a hundred end with "unknown CA"',
  hidesSettings: 'its binding does not tell them',
});

const NO_PATTERN = 'its setLocalDescription wants an argument, which the pattern has not';

export const wrtc = childKind('wrtc', {
  dtls: '1.2',
  takesBytes: 262_144,
  exceptions: {
    'DTLS 1.2': ONLY_12,
    'glare, we are polite': NO_PATTERN,
    'glare, they are polite': NO_PATTERN,
    'glare of restarts, we are polite': NO_PATTERN,
    'glare of restarts, they are polite': NO_PATTERN,
    '16 MiB messages': LIBWEBRTC_LIMIT,
    'messages before a close by them': 'libwebrtc 106 forgets at a close what it has queued',
  },
  slow: ['loss, every reliability'],
  hidesSettings: 'it tells 65,535 for what is not set',
  ignoresOurLimit: 'it closes the channel instead',
});

const EARLY_CANDIDATES = 'it tells candidates before the offer that they belong to, and offers twice';

const LOSES_RELIABLE = 'of messages that arrive out of order it acknowledges some and never delivers them';

const weriftKind = childKind('werift', {
  dtls: '1.2',
  takesBytes: 65_536,
  greatConfig: { maxMessageSize: 16 * MIB },
  exceptions: {
    'DTLS 1.2': ONLY_12,
    'names of channels': 'its OPEN counts characters where bytes are due',
    'ICE restart by them': 'after a restart of its own it neither checks nor sends',
    'glare, we are polite': EARLY_CANDIDATES,
    'glare, they are polite': EARLY_CANDIDATES,
    'glare of restarts, we are polite': EARLY_CANDIDATES,
    'glare of restarts, they are polite': EARLY_CANDIDATES,
    'loss, reliable': LOSES_RELIABLE,
    'loss, every reliability': LOSES_RELIABLE,
  },
  fixedRoles: {
    'we offer, we begin DTLS': 'it answers as DTLS client whatever the offer says',
    'they offer, they begin DTLS': 'its channels take the ids of the ICE role, which are those of the other DTLS role',
  },
  slow: ['16 MiB messages', '1,000 channels'],
  sendsNoEmpty: 'of an empty message it sends nothing',
  opensAs: ({ maxRetransmits, maxPacketLifeTime }) =>
    // Its OPEN of a channel that may lose says that it is ordered.
    maxRetransmits === undefined && maxPacketLifeTime === undefined ? {} : { ordered: true },
});

export const werift: PeerKind = { ...weriftKind, missing: weriftKind.missing ?? noNetwork };
