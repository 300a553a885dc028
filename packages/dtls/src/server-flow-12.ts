/** The server of DTLS 1.2 from the ClientHello on (RFC 5246 §7, RFC 8422, RFC 7627). */

import { ByteReader } from './byte-reader.ts';
import { vector8 } from './byte-writer.ts';
import { encodeCertificate, encodeCertificateRequest } from './certificate-message.ts';
import type { CipherSuite } from './cipher-suites.ts';
import { fault } from './errors.ts';
import { encodeSrtpProfiles } from './extensions.ts';
import type { Flow, Handshake } from './handshake.ts';
import type { HandshakeMessage } from './handshake-message.ts';
import { type ClientHello, downgradeMark12, encodeServerHello, RANDOM_BYTES } from './hello.ts';
import { createShare } from './key-exchange.ts';
import { deriveKeys12 } from './keys-12.ts';
import { chooseSrtp, chooseSuite, clientSchemes, commonGroups, requireOurScheme } from './negotiation.ts';
import { expectCertificate, expectCertificateVerify, expectFinished, expectMessage, signedByUs } from './peer-proof.ts';
import { verifyData } from './prf.ts';
import { extensionType, handshakeType } from './registry.ts';
import { encodeEcdheParameters } from './server-key-exchange.ts';
import { session12 } from './session.ts';
import { type SrtpProfile, srtpProfileIds } from './srtp-profiles.ts';

const EMPTY_RENEGOTIATION_SCSV = 0x00ff;
const NOTHING = Buffer.alloc(0);

export function* server12(hs: Handshake, message: HandshakeMessage, hello: ClientHello): Flow {
  const { options, transcript } = hs;
  checkHello(hs, hello);
  const suite = chooseSuite(options, '1.2', hello.cipherSuites);
  const [group = 'X25519'] = commonGroups(options, '1.2', hello.extensions);
  const srtpProfile = chooseSrtp(options, hello.extensions);
  transcript.add(message);
  transcript.start(suite);

  const randoms = Buffer.concat([hello.random, sendHello(hs, suite, hello, srtpProfile)]);
  hs.queue(handshakeType.certificate, encodeCertificate('1.2', options.identity.certificate), 0);
  const share = createShare(group);
  const parameters = encodeEcdheParameters(group, share.publicBytes);
  const signed = signedByUs(hs, Buffer.concat([randoms, parameters]));
  hs.queue(handshakeType.serverKeyExchange, Buffer.concat([parameters, signed]), 0);
  hs.queue(handshakeType.certificateRequest, encodeCertificateRequest('1.2'), 0);
  hs.queue(handshakeType.serverHelloDone, NOTHING, 0);
  hs.flush();

  const peerKey = yield* expectCertificate(hs, '1.2');
  const exchange = new ByteReader(yield* expectMessage(hs, handshakeType.clientKeyExchange));
  const peerBytes = exchange.vector8(1);
  exchange.end();
  const keys = deriveKeys12('server', suite, share.agree(peerBytes), transcript.digest(), randoms);
  hs.guard(keys.masterSecret);
  const peerScheme = yield* expectCertificateVerify(hs, peerKey, transcript.content());
  hs.installReader12(keys.opener);
  yield* expectFinished(hs, verifyData(suite.hash, keys.masterSecret, 'client', transcript.digest()));

  hs.queueChangeCipherSpec();
  hs.installWriter(1, keys.sealer);
  hs.queue(handshakeType.finished, verifyData(suite.hash, keys.masterSecret, 'server', transcript.digest()), 1);
  hs.flush(false);
  const facts = {
    version: '1.2',
    cipher: suite.cipher,
    group,
    localScheme: options.scheme,
    peerScheme,
    peerCertificate: hs.peerCertificate as Buffer,
    srtpProfile,
  } as const;
  hs.complete(session12(facts, suite, keys.masterSecret, randoms));
}

function checkHello({ options }: Handshake, { extensions, cipherSuites }: ClientHello): void {
  if (!extensions.has(extensionType.extendedMasterSecret)) {
    throw fault('DTLS_NEGOTIATION_FAILED', 'the client has no extended master secret');
  }
  const renegotiation = extensions.get(extensionType.renegotiationInfo);
  if (renegotiation ? !renegotiation.equals(vector8()) : !cipherSuites.includes(EMPTY_RENEGOTIATION_SCSV)) {
    throw fault('DTLS_NEGOTIATION_FAILED', 'the client does not say that this is a first handshake');
  }
  const formats = extensions.get(extensionType.ecPointFormats);
  if (formats && !new ByteReader(formats).vector8(1).includes(0)) {
    throw fault('DTLS_ILLEGAL_PARAMETER', 'the client takes no uncompressed points');
  }
  requireOurScheme(options, clientSchemes(extensions));
}

/** Returns our random. */
function sendHello(
  hs: Handshake,
  suite: CipherSuite,
  hello: ClientHello,
  srtpProfile: SrtpProfile | undefined,
): Buffer {
  const random = Buffer.from(hs.options.random.bytes(RANDOM_BYTES));
  // Tells a client that offered 1.3 that its offer was tampered with on the way.
  if (hs.options.versions.includes('1.3')) downgradeMark12.copy(random, RANDOM_BYTES - downgradeMark12.length);
  const extensions = new Map<number, Buffer>([
    [extensionType.extendedMasterSecret, NOTHING],
    [extensionType.renegotiationInfo, vector8()],
  ]);
  if (hello.extensions.has(extensionType.ecPointFormats)) {
    extensions.set(extensionType.ecPointFormats, Buffer.from([1, 0]));
  }
  if (srtpProfile) extensions.set(extensionType.useSrtp, encodeSrtpProfiles([srtpProfileIds[srtpProfile]]));
  const body = encodeServerHello({ random, sessionId: NOTHING, cipherSuite: suite.id, extensions });
  hs.queue(handshakeType.serverHello, body, 0);
  return random;
}
