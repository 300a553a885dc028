/** The server's first steps, up to where the versions part (RFC 9147 §5.1, RFC 6347 §4.2.1). */

import { equalBytes } from '@claw/base';
import { fault } from './errors.ts';
import type { Flow, Handshake } from './handshake.ts';
import { encodeHelloVerifyRequest, parseClientHello } from './hello.ts';
import { chooseVersion } from './negotiation.ts';
import { nextMessage } from './peer-proof.ts';
import { handshakeType } from './registry.ts';
import { server12 } from './server-flow-12.ts';
import { server13 } from './server-flow-13.ts';

const COOKIE_BYTES = 32;

export function* serverFlow(hs: Handshake): Flow {
  const { options, transcript, limit } = hs;
  let message = yield* nextMessage(handshakeType.clientHello);
  let hello = parseClientHello(message.body);
  hs.version = chooseVersion(options, hello);
  if (hs.version === '1.3') return yield* server13(hs, message, hello);
  if (options.cookie) {
    const cookie = options.random.bytes(COOKIE_BYTES);
    hs.queue(handshakeType.helloVerifyRequest, encodeHelloVerifyRequest(cookie), 0);
    hs.flush();
    transcript.reset();
    const first = hello;
    message = yield* nextMessage(handshakeType.clientHello);
    hello = parseClientHello(message.body);
    if (!equalBytes(hello.cookie, cookie)) throw fault('DTLS_ILLEGAL_PARAMETER', 'the client returns another cookie');
    const same =
      hello.random.equals(first.random) &&
      hello.sessionId.equals(first.sessionId) &&
      hello.cipherSuites.join() === first.cipherSuites.join() &&
      chooseVersion(options, hello) === '1.2';
    if (!same) throw fault('DTLS_ILLEGAL_PARAMETER', 'the client changed its hello with the cookie');
    limit.prove();
  }
  return yield* server12(hs, message, hello);
}
