/**
 * The `candidate` attribute of SDP (RFC 8839 §5.1, RFC 6544 §4.5), both ways. Text
 * from strangers is bounded and read in one linear pass; addresses become
 * canonical, names other than `.local` are refused, so that nobody else chooses
 * what we look up.
 */

import { canonicalAddress } from '../address.ts';
import { iceError } from '../errors.ts';
import { ACTIVE_TCP_PORT, type Candidate, type CandidateType, type TcpType } from './candidate.ts';

const MAX_LINE_LENGTH = 512;
const LOCAL_NAME = /^[a-z\d-]{1,63}\.local$/;
const TYPES: ReadonlySet<string> = new Set<CandidateType>(['host', 'srflx', 'prflx', 'relay']);
const TCP_TYPES: ReadonlySet<string> = new Set<TcpType>(['active', 'passive', 'so']);

/**
 * Reads `candidate:…`, with or without `a=`. Unknown transports and types are candidates of the
 * future, so they give `undefined`; extensions that we do not know are skipped.
 * @throws ClawError `ICE_CANDIDATE_INVALID`
 */
export function parseCandidate(line: string): Candidate | undefined {
  if (line.length > MAX_LINE_LENGTH) throw invalid(`it has ${line.length} characters`);
  const text = line.startsWith('a=') ? line.slice(2) : line;
  if (!text.startsWith('candidate:')) throw invalid('it does not begin with "candidate:"');
  const words = text.slice('candidate:'.length).trimEnd().split(' ');
  const [
    foundation = '',
    componentText = '',
    transport = '',
    priorityText = '',
    name = '',
    portText = '',
    typ,
    type = '',
  ] = words;
  if (!/^[\da-zA-Z+/]{1,32}$/.test(foundation)) throw invalid('its foundation is malformed');
  const component = integer(componentText, 1, 256, 'component');
  const priority = integer(priorityText, 0, 2 ** 32 - 1, 'priority');
  const port = integer(portText, 0, 65_535, 'port');
  if (typ !== 'typ' || type === '') throw invalid('it has no type');
  const address = canonicalAddress(name) ?? localName(name);
  if (address === undefined) throw invalid('its address is neither an IP address nor a .local name');
  const protocol = transport.toLowerCase();
  if ((protocol !== 'udp' && protocol !== 'tcp') || !TYPES.has(type)) return undefined;
  const extensions = readExtensions(words.slice(8));
  const tcpType = extensions.get('tcptype');
  if (protocol === 'tcp' && (tcpType === undefined || !TCP_TYPES.has(tcpType))) throw invalid('its tcptype is missing');
  const relatedAddress = canonicalAddress(extensions.get('raddr') ?? '');
  const relatedPort = Number(extensions.get('rport') ?? Number.NaN);
  const usernameFragment = extensions.get('ufrag');
  return {
    foundation,
    component,
    protocol,
    priority,
    address,
    port: tcpType === 'active' ? ACTIVE_TCP_PORT : port,
    type: type as CandidateType,
    ...(protocol === 'tcp' ? { tcpType: tcpType as TcpType } : {}),
    ...(relatedAddress !== undefined && relatedPort >= 0 && relatedPort <= 65_535
      ? { related: { address: relatedAddress, port: relatedPort } }
      : {}),
    ...(usernameFragment === undefined ? {} : { usernameFragment }),
  };
}

/** `candidate:…` without `a=`, as W3C's `RTCIceCandidate.candidate`. */
export function formatCandidate(candidate: Candidate): string {
  const { foundation, component, protocol, priority, address, port, type, tcpType, related } = candidate;
  const words = [`candidate:${foundation}`, component, protocol, priority, address, port, 'typ', type];
  if (related) words.push('raddr', related.address, 'rport', related.port);
  if (tcpType) words.push('tcptype', tcpType);
  if (candidate.usernameFragment !== undefined) words.push('ufrag', candidate.usernameFragment);
  return words.join(' ');
}

function readExtensions(words: readonly string[]): Map<string, string> {
  const extensions = new Map<string, string>();
  for (let at = 0; at + 1 < words.length; at += 2) {
    const name = words[at] ?? '';
    if (!extensions.has(name)) extensions.set(name, words[at + 1] ?? '');
  }
  return extensions;
}

function localName(text: string): string | undefined {
  const name = text.toLowerCase();
  return LOCAL_NAME.test(name) ? name : undefined;
}

function integer(text: string, min: number, max: number, field: string): number {
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= min && value <= max)) throw invalid(`its ${field} is malformed`);
  return value;
}

function invalid(why: string) {
  return iceError('ICE_CANDIDATE_INVALID', `a candidate line is refused: ${why}`);
}
