/** The client of DTLS 1.2 from the ServerHello on (RFC 5246 §7, RFC 8422, RFC 7627). */

import { ByteReader } from './byte-reader.ts';
import { vector8 } from './byte-writer.ts';
import { encodeCertificate, parseCertificateRequest } from './certificate-message.ts';
import type { ClientOffer } from './client-offer.ts';
import { fault } from './errors.ts';
import { allowOnly } from './extensions.ts';
import type { Flow, Handshake } from './handshake.ts';
import type { HandshakeMessage } from './handshake-message.ts';
import type { ServerHello } from './hello.ts';
import { answerShare } from './key-exchange.ts';
import { deriveKeys12, type Keys12 } from './keys-12.ts';
import { requireOurScheme, srtpChosen, suiteChosen } from './negotiation.ts';
import { checkSigned, expectCertificate, expectFinished, expectMessage, signedByUs } from './peer-proof.ts';
import { verifyData } from './prf.ts';
import { extensionType, handshakeType } from './registry.ts';
import { readEcdheParameters } from './server-key-exchange.ts';
import { session12 } from './session.ts';

const { extendedMasterSecret, renegotiationInfo, ecPointFormats, useSrtp } = extensionType;

export function* client12(hs: Handshake, offer: ClientOffer, message: HandshakeMessage, hello: ServerHello): Flow {
  const { options, transcript } = hs;
  const suite = suiteChosen(options, '1.2', hello.cipherSuite);
  checkExtensions(hs, hello);
  const srtpProfile = srtpChosen(options, hello.extensions);
  const randoms = Buffer.concat([offer.random, hello.random]);
  transcript.start(suite);
  transcript.add(message);

  const peerKey = yield* expectCertificate(hs, '1.2');
  const exchange = readEcdheParameters(yield* expectMessage(hs, handshakeType.serverKeyExchange), options.groups);
  const peerScheme = checkSigned(exchange.signed, peerKey, Buffer.concat([randoms, exchange.parameters]));
  const request = yield* expectMessage(hs, handshakeType.certificateRequest);
  requireOurScheme(options, parseCertificateRequest('1.2', request));
  new ByteReader(yield* expectMessage(hs, handshakeType.serverHelloDone)).end();

  const { publicBytes, secret } = answerShare(exchange.group, exchange.publicBytes);
  hs.queue(handshakeType.certificate, encodeCertificate('1.2', options.identity.certificate), 0);
  hs.queue(handshakeType.clientKeyExchange, vector8(publicBytes), 0);
  const keys = deriveKeys12('client', suite, secret, transcript.digest(), randoms);
  hs.guard(keys.masterSecret);
  const expected = answer(hs, keys);
  hs.installReader12(keys.opener);
  hs.flush();
  yield* expectFinished(hs, expected());
  hs.settle();
  const facts = {
    version: '1.2',
    cipher: suite.cipher,
    group: exchange.group,
    localScheme: options.scheme,
    peerScheme,
    peerCertificate: hs.peerCertificate as Buffer,
    srtpProfile,
  } as const;
  hs.complete(session12(facts, suite, keys.masterSecret, randoms));
}

/** Queues our proof and Finished; returns how the server's Finished is computed. */
function answer(hs: Handshake, { suite, masterSecret, sealer }: Keys12): () => Buffer {
  const { transcript } = hs;
  hs.queue(handshakeType.certificateVerify, signedByUs(hs, transcript.content()), 0);
  hs.queueChangeCipherSpec();
  hs.installWriter(1, sealer);
  hs.queue(handshakeType.finished, verifyData(suite.hash, masterSecret, 'client', transcript.digest()), 1);
  return () => verifyData(suite.hash, masterSecret, 'server', transcript.digest());
}

function checkExtensions({ options }: Handshake, { extensions }: ServerHello): void {
  const allowed: number[] = [extendedMasterSecret, renegotiationInfo, ecPointFormats];
  allowOnly(extensions, options.srtpProfiles.length > 0 ? [...allowed, useSrtp] : allowed);
  if (!extensions.has(extendedMasterSecret)) {
    throw fault('DTLS_NEGOTIATION_FAILED', 'the server has no extended master secret');
  }
  if (!extensions.get(renegotiationInfo)?.equals(vector8())) {
    throw fault('DTLS_NEGOTIATION_FAILED', 'the server does not confirm that this is a first handshake');
  }
}
