/** `stun:` and `turn:` URIs (RFC 7064, RFC 7065) as typed servers, read once at the edge. */

import { canonicalAddress } from '../address.ts';
import { iceError } from '../errors.ts';
import type { LongTermSecret } from '../stun/credentials.ts';

/** As W3C's `RTCIceServer`. */
export interface IceServer {
  readonly urls: string | readonly string[];
  readonly username?: string | undefined;
  readonly credential?: string | undefined;
}

export interface ServerAddress {
  readonly url: string;
  readonly kind: 'stun' | 'turn';
  /** An IP address or a name. */
  readonly host: string;
  readonly port: number;
  readonly protocol: 'udp' | 'tcp' | 'tls';
  /** Of TURN servers. */
  readonly secret: LongTermSecret | undefined;
}

const MAX_SERVERS = 16;
const URL = /^(stuns?|turns?):(\[[\da-f:.]{2,45}\]|[a-z\d._-]{1,253})(?::(\d{1,5}))?(?:\?transport=(udp|tcp))?$/i;

/** @throws ClawError `ICE_SERVER_INVALID` */
export function parseServers(servers: readonly IceServer[]): ServerAddress[] {
  const parsed = servers.flatMap((server) => [server.urls].flat().map((url) => parseServer(url, server)));
  if (parsed.length > MAX_SERVERS) {
    throw iceError('ICE_SERVER_INVALID', `${parsed.length} servers are more than the ${MAX_SERVERS} that make sense`);
  }
  return parsed;
}

function parseServer(url: string, { username, credential }: IceServer): ServerAddress {
  const match = URL.exec(url);
  if (!match) throw iceError('ICE_SERVER_INVALID', `"${url.slice(0, 100)}" is no STUN or TURN URL`);
  const [, schemeText = '', hostText = '', portText, transport] = match;
  const scheme = schemeText.toLowerCase();
  const isSecure = scheme.endsWith('s');
  const kind = scheme.startsWith('turn') ? 'turn' : 'stun';
  if (isSecure && transport?.toLowerCase() === 'udp') {
    throw iceError('ICE_SERVER_INVALID', `"${url}": TURN over DTLS is not supported; use transport=tcp`);
  }
  if (kind === 'stun' && isSecure) throw iceError('ICE_SERVER_INVALID', `"${url}": STUN over TLS is not supported`);
  if (kind === 'turn' && (username === undefined || credential === undefined)) {
    throw iceError('ICE_SERVER_INVALID', `"${url}" needs a username and a credential`);
  }
  const bare = hostText.replace(/^\[|\]$/g, '').toLowerCase();
  const port = portText === undefined ? (isSecure ? 5349 : 3478) : Number(portText);
  if (port < 1 || port > 65_535) throw iceError('ICE_SERVER_INVALID', `"${url}": the port is out of range`);
  return {
    url,
    kind,
    host: canonicalAddress(bare) ?? bare,
    port,
    protocol: isSecure ? 'tls' : transport?.toLowerCase() === 'tcp' ? 'tcp' : 'udp',
    secret:
      kind === 'turn' && username !== undefined && credential !== undefined
        ? { username, password: credential }
        : undefined,
  };
}
