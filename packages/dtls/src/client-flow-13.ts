/** The client of DTLS 1.3 from the ServerHello or HelloRetryRequest on (RFC 8446 §4, RFC 9147 §5). */

import { ByteReader } from './byte-reader.ts';
import { encodeCertificate, parseCertificateRequest } from './certificate-message.ts';
import type { CipherSuite } from './cipher-suites.ts';
import { type ClientOffer, encodeOffer } from './client-offer.ts';
import { fault } from './errors.ts';
import { allowOnly, type Extensions, readCookie, readExtensions, readKeyShare, readU16 } from './extensions.ts';
import type { Flow, Handshake } from './handshake.ts';
import type { HandshakeMessage } from './handshake-message.ts';
import { parseServerHello, retryRandom, type ServerHello } from './hello.ts';
import { createShare, groupOf, type KeyShare } from './key-exchange.ts';
import { finishedData, KeySchedule, type TrafficSecrets } from './key-schedule.ts';
import { requireOurScheme, srtpChosen, suiteChosen } from './negotiation.ts';
import type { NegotiatedFacts } from './options.ts';
import {
  expectCertificate,
  expectCertificateVerify,
  expectFinished,
  expectMessage,
  nextMessage,
  signedByUs,
} from './peer-proof.ts';
import { Opener13, Sealer13 } from './record-protection-13.ts';
import { extensionType, handshakeType, wireVersion } from './registry.ts';
import { session13 } from './session.ts';
import { certificateVerifyContent } from './signature-schemes.ts';

const { supportedVersions, keyShare, cookie, supportedGroups, useSrtp } = extensionType;

export function* client13(hs: Handshake, offer: ClientOffer, first: HandshakeMessage, firstHello: ServerHello): Flow {
  const { options, transcript } = hs;
  const suite = suiteChosen(options, '1.3', firstHello.cipherSuite);
  checkSessionId(firstHello);
  let [message, hello, shares] = [first, firstHello, offer.shares];
  if (firstHello.random.equals(retryRandom)) {
    shares = retry(hs, offer, suite, first, firstHello.extensions);
    message = yield* nextMessage(handshakeType.serverHello);
    hello = parseServerHello(message.body);
    checkAfterRetry(hello, suite);
  } else {
    transcript.start(suite);
  }
  transcript.add(message);
  const { share, publicBytes } = shareChosen(shares, hello.extensions);
  const schedule = new KeySchedule(suite.hash);
  const secrets = schedule.handshakeSecrets(share.agree(publicBytes), transcript.digest());
  hs.guard(schedule, secrets.client, secrets.server);
  hs.installWriter(2, new Sealer13(suite, secrets.client, 2));
  hs.installReader(2, new Opener13(suite, secrets.server));

  const encrypted = new ByteReader(yield* expectMessage(hs, handshakeType.encryptedExtensions));
  const extensions = readExtensions(encrypted);
  encrypted.end();
  allowOnly(extensions, options.srtpProfiles.length > 0 ? [supportedGroups, useSrtp] : [supportedGroups]);
  const srtpProfile = srtpChosen(options, extensions);
  const request = yield* expectMessage(hs, handshakeType.certificateRequest);
  requireOurScheme(options, parseCertificateRequest('1.3', request));
  const peerKey = yield* expectCertificate(hs, '1.3');
  const signed = certificateVerifyContent('server', transcript.digest());
  const peerScheme = yield* expectCertificateVerify(hs, peerKey, signed);
  yield* expectFinished(hs, finishedData(suite.hash, secrets.server, transcript.digest()));

  // First what the peer waits for.
  const throughServerFinished = transcript.digest();
  answer(hs, suite, secrets);
  const application = schedule.applicationSecrets(throughServerFinished);
  hs.guard(application.client, application.server, application.exporter);
  hs.installWriter(3, new Sealer13(suite, application.client, 3));
  hs.installReader(3, new Opener13(suite, application.server));
  const facts: NegotiatedFacts = {
    version: '1.3',
    cipher: suite.cipher,
    group: share.group,
    localScheme: options.scheme,
    peerScheme,
    peerCertificate: hs.peerCertificate as Buffer,
    srtpProfile,
  };
  hs.complete(session13(facts, suite, application));
}

/** Our certificate, its proof and Finished; the handshake secrets end here. */
function answer(hs: Handshake, suite: CipherSuite, secrets: TrafficSecrets): void {
  const { options, transcript } = hs;
  hs.queue(handshakeType.certificate, encodeCertificate('1.3', options.identity.certificate), 2);
  const signed = certificateVerifyContent('client', transcript.digest());
  hs.queue(handshakeType.certificateVerify, signedByUs(hs, signed), 2);
  hs.queue(handshakeType.finished, finishedData(suite.hash, secrets.client, transcript.digest()), 2);
  hs.flush();
  secrets.client.fill(0);
  secrets.server.fill(0);
}

/** Sends the second ClientHello; returns the shares that it has. */
function retry(
  hs: Handshake,
  offer: ClientOffer,
  suite: CipherSuite,
  message: HandshakeMessage,
  extensions: Extensions,
): readonly KeyShare[] {
  const { options, transcript } = hs;
  allowOnly(extensions, [supportedVersions, keyShare, cookie]);
  const groupAsked = extensions.get(keyShare);
  const cookieAsked = extensions.get(cookie);
  if (!groupAsked && !cookieAsked) {
    throw fault('DTLS_ILLEGAL_PARAMETER', 'a HelloRetryRequest asks for no change');
  }
  let { shares } = offer;
  if (groupAsked) {
    const group = groupOf(readU16(groupAsked));
    if (!group || !options.groups.includes(group) || shares.some((share) => share.group === group)) {
      throw fault('DTLS_ILLEGAL_PARAMETER', 'a HelloRetryRequest asks for a group out of the offer');
    }
    shares = [createShare(group)];
  }
  transcript.foldClientHello(suite);
  transcript.add(message);
  const cookie13 = cookieAsked && readCookie(cookieAsked);
  hs.queue(handshakeType.clientHello, encodeOffer(options, { ...offer, shares }, { cookie13 }), 0);
  hs.flush();
  return shares;
}

function checkAfterRetry(hello: ServerHello, suite: CipherSuite): void {
  const version = hello.extensions.get(supportedVersions);
  const same = version && readU16(version) === wireVersion.dtls13 && hello.cipherSuite === suite.id;
  if (!same) throw fault('DTLS_ILLEGAL_PARAMETER', 'the server changed its mind after a HelloRetryRequest');
  if (hello.random.equals(retryRandom)) throw fault('DTLS_UNEXPECTED_MESSAGE', 'a second HelloRetryRequest came');
  checkSessionId(hello);
}

/** RFC 9147 §5: there is no session id in DTLS 1.3. */
function checkSessionId({ sessionId }: ServerHello): void {
  if (sessionId.length > 0) throw fault('DTLS_ILLEGAL_PARAMETER', 'the server echoes a session id that was not sent');
}

function shareChosen(shares: readonly KeyShare[], extensions: Extensions): { share: KeyShare; publicBytes: Buffer } {
  allowOnly(extensions, [supportedVersions, keyShare]);
  const content = extensions.get(keyShare);
  if (!content) throw fault('DTLS_ILLEGAL_PARAMETER', 'the server sends no key_share');
  const { group, publicBytes } = readKeyShare(content);
  const share = shares.find((candidate) => candidate.group === groupOf(group));
  if (!share) throw fault('DTLS_ILLEGAL_PARAMETER', 'the server answers to a share that was not sent');
  return { share, publicBytes };
}
