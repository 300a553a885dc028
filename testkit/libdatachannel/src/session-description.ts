/**
 * Foreign session descriptions (RFC 8866; data channels: RFC 8841), read into
 * values and written anew: the library's parser sees only text of ours. Exactly
 * one section is taken, the data channel one; what else a description may carry
 * is passed over when harmless and refused when it would change the meaning.
 */

import type { RtcSessionDescription } from '@claw/contracts';
import { sanitizeCandidate } from './candidate.ts';
import { invalidDescription } from './errors.ts';

const MAX_LENGTH = 16 * 1024;
const MAX_LINES = 200;
/** More than a host with many addresses has; libjuice keeps about 20. */
export const MAX_CANDIDATES = 64;

/** Attributes that must be there once, and what they must look like. */
const REQUIRED = {
  'ice-ufrag': /^[a-z\d+/]{4,256}$/i,
  'ice-pwd': /^[a-z\d+/]{22,256}$/i,
  fingerprint: /^sha-256 (?:[\da-f]{2}:){31}[\da-f]{2}$/i,
  setup: /^(?:active|passive|actpass)$/,
  mid: /^[a-z\d_-]{1,16}$/i,
  'sctp-port': /^[1-9]\d{0,4}$/,
} as const;
/** The size that RFC 8841 §6.1 presumes when none is given. */
const DEFAULT_MAX_MESSAGE_SIZE = 65_536;

type Attribute = keyof typeof REQUIRED;

/**
 * What `description` says, in the words that the library gets. An offerer that
 * leaves the DTLS role open becomes the client: a server that is ready before
 * the client's first flight avoids its repetition after a second.
 * @throws ClawError `ENGINE_DESCRIPTION_INVALID`
 */
export function sanitizeDescription(description: RtcSessionDescription): {
  readonly sdp: string;
  readonly mid: string;
} {
  const lines = splitLines(description.sdp);
  const attributes = readAttributes(lines);
  const value = (name: Attribute) => attributes.get(name) as string;
  const role = value('setup');
  if (description.type === 'answer' && role === 'actpass')
    throw invalidDescription('an answer leaves its DTLS role open');
  const setup = role === 'actpass' ? 'active' : role;
  if (Number(value('sctp-port')) > 65_535) throw invalidDescription('its SCTP port is out of range');
  const candidates = lines.filter((line) => line.startsWith('a=candidate:')).map((line) => sanitizeCandidate(line));
  if (candidates.length > MAX_CANDIDATES) throw invalidDescription(`it has ${candidates.length} candidates`);
  const sdp = [
    'v=0',
    'o=- 1 1 IN IP4 127.0.0.1',
    's=-',
    't=0 0',
    `a=group:BUNDLE ${value('mid')}`,
    'a=ice-options:ice2,trickle',
    `a=fingerprint:${value('fingerprint')
      .toLowerCase()
      .replace(/ .*/, (hex) => hex.toUpperCase())}`,
    'm=application 9 UDP/DTLS/SCTP webrtc-datachannel',
    'c=IN IP4 0.0.0.0',
    `a=mid:${value('mid')}`,
    'a=sendrecv',
    `a=sctp-port:${value('sctp-port')}`,
    `a=max-message-size:${readMaxMessageSize(attributes)}`,
    `a=setup:${setup}`,
    `a=ice-ufrag:${value('ice-ufrag')}`,
    `a=ice-pwd:${value('ice-pwd')}`,
    ...[...new Set(candidates)].flatMap((candidate) => (candidate ? [`a=${candidate}`] : [])),
    '',
  ].join('\r\n');
  return { sdp, mid: value('mid') };
}

function splitLines(sdp: string): string[] {
  if (sdp.length > MAX_LENGTH) throw invalidDescription(`it has ${sdp.length} characters`);
  const lines = sdp.split(/\r?\n/);
  while (lines.at(-1) === '') lines.pop();
  if (lines.length > MAX_LINES) throw invalidDescription(`it has ${lines.length} lines`);
  if (lines[0] !== 'v=0') throw invalidDescription('it does not start with v=0');
  if (!lines.every((line) => /^[a-z]=[ -~]*$/.test(line))) throw invalidDescription('a line is malformed');
  const sections = lines.filter((line) => line.startsWith('m='));
  if (
    sections.length !== 1 ||
    !/^m=application \d{1,5} (?:UDP|TCP)\/DTLS\/SCTP webrtc-datachannel$/.test(sections[0] ?? '')
  ) {
    throw invalidDescription('it is not of one data channel section');
  }
  return lines;
}

/** Session attributes hold for the section unless it has its own (RFC 8866 §5.13). */
function readAttributes(lines: readonly string[]): Map<string, string> {
  const sectionAt = lines.findIndex((line) => line.startsWith('m='));
  const levels = [lines.slice(0, sectionAt), lines.slice(sectionAt)].map((level) => {
    const values = new Map<string, string>();
    for (const line of level) {
      const [, name, value] = /^a=([a-z-]+):(.*)$/.exec(line) ?? [];
      if (name === undefined || value === undefined || !(name in REQUIRED || name === 'max-message-size')) continue;
      if (values.has(name) && values.get(name) !== value) throw invalidDescription(`it has two values of ${name}`);
      values.set(name, value);
    }
    return values;
  });
  const attributes = new Map(levels.flatMap((level) => [...level]));
  for (const [name, shape] of Object.entries(REQUIRED)) {
    if (!shape.test(attributes.get(name) ?? '')) throw invalidDescription(`its ${name} is missing or malformed`);
  }
  return attributes;
}

/** Zero means that any size will do (RFC 8841 §6.1). */
function readMaxMessageSize(attributes: ReadonlyMap<string, string>): number {
  const text = attributes.get('max-message-size') ?? String(DEFAULT_MAX_MESSAGE_SIZE);
  if (!/^\d{1,10}$/.test(text)) throw invalidDescription('its max-message-size is malformed');
  return Math.min(Number(text), 2 ** 30);
}
