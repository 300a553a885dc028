/** ICE server URLs (RFC 7064, RFC 7065) as the library takes them. */

import type { RtcIceServer } from '@claw/contracts';
import type { IceServer } from 'node-datachannel';

const URL = /^(stun|turn|turns):(\[[\da-f:.]+\]|[^\s:?/@[\]]+)(?::(\d{1,5}))?(?:\?transport=(udp|tcp))?$/i;

/** One entry per URL. @throws TypeError for a URL of another form, or TURN without credentials. */
export function toNativeIceServers(servers: readonly RtcIceServer[]): IceServer[] {
  return servers.flatMap((server) => {
    const urls = typeof server.urls === 'string' ? [server.urls] : server.urls;
    return urls.map((url) => toNative(url, server));
  });
}

function toNative(url: string, server: RtcIceServer): IceServer {
  const match = URL.exec(url);
  if (!match) throw new TypeError(`not a STUN or TURN URL: ${url}`);
  const scheme = String(match[1]).toLowerCase();
  const hostname = String(match[2]).replace(/^\[|\]$/g, '');
  const port = Number(match[3] ?? (scheme === 'turns' ? 5349 : 3478));
  if (scheme === 'stun') return { hostname, port };
  if (server.username === undefined || server.credential === undefined) {
    throw new TypeError(`a TURN server needs username and credential: ${url}`);
  }
  const tcp = match[4]?.toLowerCase() === 'tcp';
  const relayType = scheme === 'turns' ? 'TurnTls' : tcp ? 'TurnTcp' : 'TurnUdp';
  return { hostname, port, username: server.username, password: server.credential, relayType };
}
