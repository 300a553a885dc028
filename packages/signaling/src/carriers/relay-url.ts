/** What counts as the address of a relay. */

import { signalingError } from '../errors.ts';

/**
 * The parsed URL of a relay: `ws://` or `wss://`, a host, optionally a port and a path.
 * @throws ClawError `RELAY_URL_INVALID` whose message says what is wrong.
 */
export function parseRelayUrl(text: string): URL {
  let url: URL;
  try {
    url = new URL(text);
  } catch (cause) {
    throw signalingError('RELAY_URL_INVALID', 'the address of the relay is not a URL', {
      cause,
      hint: 'Write it like wss://relay.example.org or ws://192.0.2.7:8787.',
    });
  }
  // The text itself stays out of these messages: it may hold the very password we refuse.
  if (url.protocol !== 'ws:' && url.protocol !== 'wss:') {
    throw signalingError('RELAY_URL_INVALID', `a relay's URL begins with ws:// or wss://, not with ${url.protocol}//`);
  }
  if (url.username !== '' || url.password !== '') {
    throw signalingError('RELAY_URL_INVALID', "a relay's URL holds no user name and no password: nodes log in by key");
  }
  if (url.search !== '' || url.hash !== '') {
    throw signalingError('RELAY_URL_INVALID', "a relay's URL has no part behind ? or #");
  }
  return url;
}
