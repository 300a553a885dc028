/**
 * Foreign ICE candidates (RFC 8839 §5.1, RFC 6544), read into values and written
 * anew, so that the library sees nothing but what this file writes. Names in
 * place of addresses are never resolved: a stranger must not choose our DNS
 * queries. Those that browsers invent (`….local`) are passed over; the address
 * behind them shows as a peer-reflexive candidate.
 */

import { isIP } from 'node:net';
import { invalidDescription } from './errors.ts';

const MAX_LENGTH = 512;
/** foundation component transport priority address port typ type, then pairs of name and value. */
const CANDIDATE =
  /^(?:a=)?candidate:([a-z\d+/]{1,32}) (\d{1,3}) (udp|tcp) (\d{1,10}) ([\da-z.:-]{1,255}) (\d{1,5}) typ (host|srflx|prflx|relay)((?: [!-~]+ [!-~]+)*) ?$/i;

/**
 * The candidate as the library takes it, or `undefined` for one that we have no use for.
 * @throws ClawError `ENGINE_DESCRIPTION_INVALID`
 */
export function sanitizeCandidate(line: string): string | undefined {
  if (line.length > MAX_LENGTH) throw invalidDescription(`a candidate has ${line.length} characters`);
  const match = CANDIDATE.exec(line);
  if (!match) throw invalidDescription('a candidate is malformed');
  const [, foundation, component, transport = '', priority, address = '', port, type = '', extensions = ''] = match;
  if (Number(priority) > 2 ** 32 - 1 || Number(port) > 65_535) throw invalidDescription('a candidate is out of range');
  // Component 2 is RTCP's; data has none.
  if (component !== '1') return undefined;
  if (isIP(address) === 0) {
    if (address.toLowerCase().endsWith('.local')) return undefined;
    throw invalidDescription('a candidate names a host in place of an address');
  }
  if (isUnreachable(address) || port === '0') return undefined;
  const parts = [`candidate:${foundation}`, component, transport.toUpperCase(), priority, address, port];
  return [...parts, 'typ', type.toLowerCase(), ...keptExtensions(extensions)].join(' ');
}

/** The pairs that the library understands, checked. */
function keptExtensions(text: string): string[] {
  const words = text.trim().split(' ');
  const values = new Map<string, string>();
  for (let at = 0; at + 1 < words.length; at += 2) values.set(String(words[at]).toLowerCase(), String(words[at + 1]));
  const relatedAddress = values.get('raddr') ?? '';
  const relatedPort = values.get('rport') ?? '';
  const tcpType = values.get('tcptype')?.toLowerCase() ?? '';
  const kept: string[] = [];
  if (isIP(relatedAddress) !== 0 && /^\d{1,5}$/.test(relatedPort) && Number(relatedPort) <= 65_535) {
    kept.push('raddr', relatedAddress, 'rport', relatedPort);
  }
  if (/^(?:active|passive|so)$/.test(tcpType)) kept.push('tcptype', tcpType);
  return kept;
}

/** Unspecified, multicast and broadcast addresses: no peer is there, but others might be. */
function isUnreachable(address: string): boolean {
  if (isIP(address) === 6) return /^(?:[0:]+|ff[\da-f]{2}:.*|::ffff:.*)$/i.test(address);
  const first = Number(address.split('.')[0]);
  return first === 0 || first >= 224;
}
