/**
 * Session descriptions of one data section (RFC 8866, 8829, 8839, 8841, 8842), read
 * into values and written from values. Other sections of an offer are kept only so
 * far that the answer can turn them down in their place.
 */

import { copyToKeep } from '@claw/base';
import type { Fingerprint, FingerprintAlgorithm } from '@claw/dtls';
import { type Candidate, formatCandidate, type IceParameters, type LocalCandidate, parseCandidate } from '@claw/ice';
import { engineError } from './errors.ts';

export type Setup = 'actpass' | 'active' | 'passive';

/** A section of the description that is not ours to speak. */
export interface OtherSection {
  /** `audio 9 UDP/TLS/RTP/SAVPF 111`. */
  readonly media: string;
  readonly mid: string | undefined;
}

export interface DataDescription {
  readonly ice: IceParameters;
  readonly fingerprints: readonly Fingerprint[];
  readonly setup: Setup;
  readonly mid: string;
  readonly sctpPort: number;
  /** 0: any size. */
  readonly maxMessageBytes: number;
  /** The INIT chunk (SNAP), when its sender knows that. */
  readonly sctpInit: Buffer | undefined;
  /**
   * Largest datagram its sender takes, `a=x-max-datagram-size`: ours alone, for peers on one machine. Others
   * take what a path carries and not more: libwebrtc ends a connection over a DTLS record above 2,048 bytes.
   */
  readonly maxDatagramBytes: number;
  /** Its sender takes candidates after the description (RFC 8840 §4.1.1). */
  readonly canTrickle: boolean;
  readonly candidates: readonly Candidate[];
  readonly endOfCandidates: boolean;
  /** Sections before and after the data section, in their order; ours stands at `position`. */
  readonly others: readonly OtherSection[];
  readonly position: number;
}

export interface LocalDescription extends Omit<DataDescription, 'candidates' | 'canTrickle'> {
  readonly sessionId: string;
  readonly sessionVersion: number;
  readonly candidates: readonly LocalCandidate[];
}

const MAX_SDP_BYTES = 65_536;
const MAX_SECTIONS = 32;
const MAX_CANDIDATES = 128;
/** RFC 8841 §6.1. */
const DEFAULT_MAX_MESSAGE_BYTES = 65_536;
const ALGORITHMS: Readonly<Record<string, FingerprintAlgorithm>> = {
  'sha-256': 'sha-256',
  'sha-384': 'sha-384',
  'sha-512': 'sha-512',
};

export function formatDescription(description: LocalDescription): string {
  const { ice, mid, others, position } = description;
  const sections = others.map((other) => [
    `m=${rejected(other.media)}`,
    'c=IN IP4 0.0.0.0',
    ...(other.mid === undefined ? [] : [`a=mid:${other.mid}`]),
  ]);
  sections.splice(position, 0, [
    'm=application 9 UDP/DTLS/SCTP webrtc-datachannel',
    'c=IN IP4 0.0.0.0',
    `a=mid:${mid}`,
    `a=ice-ufrag:${ice.usernameFragment}`,
    `a=ice-pwd:${ice.password}`,
    'a=ice-options:trickle renomination sped',
    ...description.fingerprints.map(({ algorithm, value }) => `a=fingerprint:${algorithm} ${hexOf(value)}`),
    `a=setup:${description.setup}`,
    `a=sctp-port:${description.sctpPort}`,
    `a=max-message-size:${description.maxMessageBytes}`,
    `a=x-max-datagram-size:${description.maxDatagramBytes}`,
    ...(description.sctpInit ? [`a=sctp-init:${description.sctpInit.toString('base64')}`] : []),
    ...candidateLines(description.candidates, description.endOfCandidates),
  ]);
  const lines = [
    'v=0',
    `o=- ${description.sessionId} ${description.sessionVersion} IN IP4 127.0.0.1`,
    's=-',
    't=0 0',
    `a=group:BUNDLE ${mid}`,
    ...sections.flat(),
  ];
  return `${lines.join('\r\n')}\r\n`;
}

/** @throws ClawError `ENGINE_DESCRIPTION_INVALID` */
export function parseDescription(sdp: string): DataDescription {
  if (sdp.length > MAX_SDP_BYTES) throw invalid(`it has ${sdp.length} characters`);
  const [session = [], ...sections] = splitSections(sdp);
  if (session[0] !== 'v=0') throw invalid('it does not begin with v=0');
  const position = sections.findIndex(([media = '']) => isData(media));
  const data = sections[position];
  if (!data) throw invalid('it has no data section');
  const section = new Section(session, data);
  const media = data[0] ?? '';
  if (media.startsWith('m=application 0 ')) throw invalid('its data section is turned down');
  return {
    ice: iceOf(section),
    fingerprints: section.all('fingerprint').map(fingerprintOf),
    setup: setupOf(section.one('setup')),
    mid: section.one('mid') ?? '0',
    sctpPort: numberOf('sctp-port', section.one('sctp-port'), 5000, 65_535),
    maxMessageBytes: numberOf('max-message-size', section.one('max-message-size'), DEFAULT_MAX_MESSAGE_BYTES, 2 ** 53),
    maxDatagramBytes: numberOf('x-max-datagram-size', section.one('x-max-datagram-size'), 0, 65_535),
    sctpInit: initOf(section.one('sctp-init')),
    canTrickle: optionsOf(section).includes('trickle'),
    candidates: section.all('candidate').slice(0, MAX_CANDIDATES).flatMap(candidateOf),
    endOfCandidates: section.has('end-of-candidates'),
    others: sections.filter((_, at) => at !== position).map(otherOf),
    position,
  };
}

/** The description of ours with these candidates in place of those that it has. */
export function withCandidates(sdp: string, candidates: readonly LocalCandidate[], isComplete: boolean): string {
  const lines = sdp.split('\r\n').filter((line) => !/^a=(?:candidate:|end-of-candidates$)/.test(line));
  const ours = lines.findIndex(isData);
  const next = lines.findIndex((line, at) => at > ours && line.startsWith('m='));
  // The last one is empty, behind the last line break.
  lines.splice(next < 0 ? -1 : next, 0, ...candidateLines(candidates, isComplete));
  return lines.join('\r\n');
}

/** A candidate line with or without `a=`; undefined for one of no use to us. @throws ClawError `ENGINE_DESCRIPTION_INVALID` */
export function readCandidate(line: string): Candidate | undefined {
  if (/[^ -~]/.test(line)) throw engineError('ENGINE_DESCRIPTION_INVALID', 'a candidate is one line of ASCII');
  return candidateOf(line.replace(/^(?:a=)?candidate:/, ''))[0];
}

/** Attributes of a section, or of the session where the section has none. */
class Section {
  readonly #own: readonly string[];
  readonly #session: readonly string[];

  constructor(session: readonly string[], own: readonly string[]) {
    this.#session = session;
    this.#own = own;
  }

  all(name: string): string[] {
    const of = (lines: readonly string[]) =>
      lines.filter((line) => line.startsWith(`a=${name}:`)).map((line) => line.slice(name.length + 3).trim());
    const own = of(this.#own);
    return own.length > 0 ? own : of(this.#session);
  }

  one(name: string): string | undefined {
    return this.all(name)[0];
  }

  has(name: string): boolean {
    return this.#own.includes(`a=${name}`) || this.#session.includes(`a=${name}`);
  }
}

function splitSections(sdp: string): string[][] {
  const sections: string[][] = [[]];
  for (const line of sdp.split(/\r\n|\n/)) {
    if (line === '') continue;
    if (line.startsWith('m=')) sections.push([]);
    sections.at(-1)?.push(line);
  }
  if (sections.length > MAX_SECTIONS + 1) throw invalid(`it has ${sections.length - 1} sections`);
  return sections;
}

const isData = (media: string) => /^m=application \d+ (?:UDP|TCP)\/DTLS\/SCTP webrtc-datachannel$/.test(media.trim());

function candidateLines(candidates: readonly LocalCandidate[], isComplete: boolean): string[] {
  const lines = candidates.map((candidate) => `a=${formatCandidate(candidate)}`);
  return isComplete ? [...lines, 'a=end-of-candidates'] : lines;
}

function iceOf(section: Section): IceParameters {
  const [usernameFragment, password] = [section.one('ice-ufrag'), section.one('ice-pwd')];
  if (usernameFragment === undefined || password === undefined) throw invalid('it has no ICE credentials');
  if (!/^[\da-z+/]{4,256}$/i.test(usernameFragment) || !/^[\da-z+/]{22,256}$/i.test(password)) {
    throw invalid('its ICE credentials are malformed');
  }
  const options = optionsOf(section);
  const [canRenominate, canEmbed] = [options.includes('renomination'), options.includes('sped')];
  return { usernameFragment, password, isLite: section.has('ice-lite'), canRenominate, canEmbed };
}

const optionsOf = (section: Section) => (section.one('ice-options') ?? '').split(' ');

function fingerprintOf(text: string): Fingerprint {
  const [algorithm = '', hex = ''] = text.split(' ');
  const known = ALGORITHMS[algorithm.toLowerCase()];
  if (!known) throw invalid(`it has a fingerprint by ${algorithm.slice(0, 20)}, not by SHA-256 or better`);
  if (!/^[\da-f]{2}(?::[\da-f]{2})*$/i.test(hex)) throw invalid('a fingerprint is malformed');
  return { algorithm: known, value: copyToKeep(Buffer.from(hex.replaceAll(':', ''), 'hex')) };
}

function setupOf(text: string | undefined): Setup {
  if (text === 'actpass' || text === 'active' || text === 'passive') return text;
  throw invalid(text === undefined ? 'it has no setup attribute' : 'its setup attribute is none that we know');
}

function numberOf(name: string, text: string | undefined, standard: number, most: number): number {
  if (text === undefined) return standard;
  if (!/^\d{1,16}$/.test(text) || Number(text) > most) throw invalid(`its ${name} is no number up to ${most}`);
  return Number(text);
}

function initOf(text: string | undefined): Buffer | undefined {
  if (text === undefined || !/^[\da-z+/]{4,4096}={0,2}$/i.test(text)) return undefined; // an extension: without it there is a handshake
  return copyToKeep(Buffer.from(text, 'base64'));
}

function candidateOf(text: string): Candidate[] {
  let candidate: Candidate | undefined;
  try {
    candidate = parseCandidate(`candidate:${text}`);
  } catch (cause) {
    throw engineError('ENGINE_DESCRIPTION_INVALID', `the peer's candidate is refused: ${(cause as Error).message}`, {
      cause,
    });
  }
  return candidate ? [candidate] : [];
}

function otherOf(lines: readonly string[]): OtherSection {
  const mid = lines.find((line) => line.startsWith('a=mid:'))?.slice('a=mid:'.length);
  return { media: (lines[0] ?? '').slice('m='.length), mid };
}

/** The same section with port 0: turned down (RFC 8829 §5.3.1). */
const rejected = (media: string) => media.replace(/^(\S+) \S+/, '$1 0');

function hexOf(value: Buffer): string {
  return (value.toString('hex').toUpperCase().match(/../g) ?? []).join(':');
}

function invalid(detail: string) {
  return engineError('ENGINE_DESCRIPTION_INVALID', `the peer's description is refused: ${detail}`);
}
