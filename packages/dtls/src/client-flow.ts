/** The client's first steps, up to where the versions part (RFC 9147 §5.1, RFC 6347 §4.2.1). */

import { client12 } from './client-flow-12.ts';
import { client13 } from './client-flow-13.ts';
import { createOffer, encodeOffer } from './client-offer.ts';
import { fault } from './errors.ts';
import { readU16 } from './extensions.ts';
import type { Flow, Handshake } from './handshake.ts';
import {
  downgradeMark11,
  downgradeMark12,
  parseHelloVerifyRequest,
  parseServerHello,
  type ServerHello,
} from './hello.ts';
import { nextMessage } from './peer-proof.ts';
import { type DtlsVersion, extensionType, handshakeType, wireVersion } from './registry.ts';

export function* clientFlow(hs: Handshake): Flow {
  const { options, transcript } = hs;
  const offer = createOffer(options);
  hs.queue(handshakeType.clientHello, encodeOffer(options, offer), 0);
  hs.flush();
  const answers = options.versions.includes('1.2')
    ? [handshakeType.serverHello, handshakeType.helloVerifyRequest]
    : [handshakeType.serverHello];
  let message = yield* nextMessage(...answers);
  if (message.type === handshakeType.helloVerifyRequest) {
    const cookie12 = parseHelloVerifyRequest(message.body);
    transcript.reset();
    hs.queue(handshakeType.clientHello, encodeOffer(options, offer, { cookie12 }), 0);
    hs.flush();
    message = yield* nextMessage(handshakeType.serverHello);
  }
  const hello = parseServerHello(message.body);
  const version = versionOf(hello);
  if (!options.versions.includes(version)) {
    throw fault('DTLS_NEGOTIATION_FAILED', `the server speaks DTLS ${version} only`);
  }
  hs.version = version;
  if (version === '1.3') return yield* client13(hs, offer, message, hello);
  const mark = hello.random.subarray(-downgradeMark12.length);
  // A server marks that it could have done better; who removed our offer could not remove the mark.
  if (options.versions.includes('1.3') && (mark.equals(downgradeMark12) || mark.equals(downgradeMark11))) {
    throw fault('DTLS_DOWNGRADE', 'somebody on the path removed DTLS 1.3 from our offer');
  }
  return yield* client12(hs, offer, message, hello);
}

function versionOf({ extensions }: ServerHello): DtlsVersion {
  const chosen = extensions.get(extensionType.supportedVersions);
  if (!chosen) return '1.2';
  if (readU16(chosen) !== wireVersion.dtls13) {
    throw fault('DTLS_ILLEGAL_PARAMETER', 'the server chose a version that was not offered');
  }
  return '1.3';
}
