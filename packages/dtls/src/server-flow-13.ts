/** The server of DTLS 1.3 from the ClientHello on (RFC 8446 §4, RFC 9147 §5). */

import { equalBytes } from '@claw/base';
import { u16, vector16 } from './byte-writer.ts';
import { encodeCertificate, encodeCertificateRequest } from './certificate-message.ts';
import type { CipherSuite } from './cipher-suites.ts';
import { fault } from './errors.ts';
import { encodeExtensions, encodeKeyShare, encodeSrtpProfiles, readCookie } from './extensions.ts';
import type { Flow, Handshake } from './handshake.ts';
import type { HandshakeMessage } from './handshake-message.ts';
import { type ClientHello, encodeServerHello, parseClientHello, RANDOM_BYTES, retryRandom } from './hello.ts';
import { answerShare, type GroupName, groupIds } from './key-exchange.ts';
import { finishedData, KeySchedule, type TrafficSecrets } from './key-schedule.ts';
import { chooseShare, chooseSrtp, chooseSuite, chooseVersion, clientSchemes, requireOurScheme } from './negotiation.ts';
import type { NegotiatedFacts } from './options.ts';
import { expectCertificate, expectCertificateVerify, expectFinished, nextMessage, signedByUs } from './peer-proof.ts';
import { Opener13, Sealer13 } from './record-protection-13.ts';
import { extensionType, handshakeType, wireVersion } from './registry.ts';
import { session13 } from './session.ts';
import { certificateVerifyContent } from './signature-schemes.ts';
import { type SrtpProfile, srtpProfileIds } from './srtp-profiles.ts';

const COOKIE_BYTES = 32;
const NOTHING = Buffer.alloc(0);
/** What a second ClientHello may change (RFC 8446 §4.1.2). */
const CHANGEABLE: readonly number[] = [
  extensionType.keyShare,
  extensionType.cookie,
  extensionType.padding,
  extensionType.earlyData,
  extensionType.preSharedKey,
];

export function* server13(hs: Handshake, first: HandshakeMessage, firstHello: ClientHello): Flow {
  const { options, transcript } = hs;
  checkHello(hs, firstHello);
  const suite = chooseSuite(options, '1.3', firstHello.cipherSuites);
  const { group, publicBytes: firstShare } = chooseShare(options, firstHello.extensions);
  let publicBytes = firstShare;
  let [message, hello] = [first, firstHello];
  if (publicBytes && !options.cookie) {
    transcript.add(message);
    transcript.start(suite);
  } else {
    const cookie = sendRetry(hs, suite, first, publicBytes ? undefined : group);
    message = yield* nextMessage(handshakeType.clientHello);
    hello = parseClientHello(message.body);
    checkSecondHello(hs, firstHello, hello, cookie);
    transcript.add(message);
    const chosen = chooseShare(options, hello.extensions);
    if (chosen.group !== group) throw fault('DTLS_ILLEGAL_PARAMETER', 'the client ignored a HelloRetryRequest');
    publicBytes = chosen.publicBytes;
  }
  if (!publicBytes) throw fault('DTLS_ILLEGAL_PARAMETER', 'the client sends no share of the group asked for');

  const answer = answerShare(group, publicBytes, options.keyShare);
  sendHello(hs, suite, group, answer.publicBytes);
  const schedule = new KeySchedule(suite.hash);
  const secrets = schedule.handshakeSecrets(answer.secret, transcript.digest());
  hs.guard(schedule, secrets.client, secrets.server);
  hs.installWriter(2, new Sealer13(suite, secrets.server, 2));
  const srtpProfile = chooseSrtp(options, hello.extensions);
  queueProof(hs, suite, secrets, srtpProfile);
  const application = schedule.applicationSecrets(transcript.digest());
  hs.guard(application.client, application.server, application.exporter);
  hs.installWriter(3, new Sealer13(suite, application.server, 3));
  hs.flush();
  hs.installReader(2, new Opener13(suite, secrets.client));

  const peerKey = yield* expectCertificate(hs, '1.3');
  const signed = certificateVerifyContent('client', transcript.digest());
  const peerScheme = yield* expectCertificateVerify(hs, peerKey, signed);
  yield* expectFinished(hs, finishedData(suite.hash, secrets.client, transcript.digest()));
  secrets.client.fill(0);
  secrets.server.fill(0);
  hs.settle();
  hs.installReader(3, new Opener13(suite, application.client));
  const facts: NegotiatedFacts = {
    version: '1.3',
    cipher: suite.cipher,
    group,
    localScheme: options.scheme,
    peerScheme,
    peerCertificate: hs.peerCertificate as Buffer,
    srtpProfile,
  };
  hs.complete(session13(facts, suite, application));
}

function checkHello({ options }: Handshake, hello: ClientHello): void {
  // RFC 9147 §5.3: the cookie of 1.3 is an extension.
  if (hello.cookie.length > 0) throw fault('DTLS_ILLEGAL_PARAMETER', 'a hello of DTLS 1.3 has a cookie of 1.2');
  requireOurScheme(options, clientSchemes(hello.extensions));
}

/** Sends a HelloRetryRequest, always with a cookie: it proves the address at no price. Returns the cookie. */
function sendRetry(hs: Handshake, suite: CipherSuite, message: HandshakeMessage, group: GroupName | undefined): Buffer {
  const { options, transcript } = hs;
  const cookie = options.random.bytes(COOKIE_BYTES);
  const extensions = new Map([[extensionType.supportedVersions as number, u16(wireVersion.dtls13)]]);
  if (group) extensions.set(extensionType.keyShare, u16(groupIds[group]));
  extensions.set(extensionType.cookie, vector16(cookie));
  const hello = { random: retryRandom, sessionId: NOTHING, cipherSuite: suite.id, extensions };
  transcript.add(message);
  transcript.foldClientHello(suite);
  hs.queue(handshakeType.serverHello, encodeServerHello(hello), 0);
  hs.flush();
  return cookie;
}

function checkSecondHello(hs: Handshake, first: ClientHello, second: ClientHello, cookie: Buffer): void {
  const returned = second.extensions.get(extensionType.cookie);
  if (!returned || !equalBytes(readCookie(returned), cookie)) {
    throw fault('DTLS_ILLEGAL_PARAMETER', 'the client returns another cookie');
  }
  hs.limit.prove();
  checkHello(hs, second);
  const fixed = ({ extensions }: ClientHello) => [...extensions].filter(([type]) => !CHANGEABLE.includes(type));
  const same =
    second.random.equals(first.random) &&
    second.sessionId.equals(first.sessionId) &&
    second.cipherSuites.join() === first.cipherSuites.join() &&
    encodeExtensions(new Map(fixed(second))).equals(encodeExtensions(new Map(fixed(first)))) &&
    chooseVersion(hs.options, second) === '1.3';
  if (!same) throw fault('DTLS_ILLEGAL_PARAMETER', 'the client changed its hello after a HelloRetryRequest');
}

function sendHello(hs: Handshake, suite: CipherSuite, group: GroupName, publicBytes: Buffer): void {
  const extensions = new Map([
    [extensionType.supportedVersions as number, u16(wireVersion.dtls13)],
    [extensionType.keyShare, encodeKeyShare({ group: groupIds[group], publicBytes })],
  ]);
  const random = hs.options.random.bytes(RANDOM_BYTES);
  const hello = { random, sessionId: NOTHING, cipherSuite: suite.id, extensions };
  hs.queue(handshakeType.serverHello, encodeServerHello(hello), 0);
}

/** Everything of our flight that is encrypted. */
function queueProof(
  hs: Handshake,
  suite: CipherSuite,
  secrets: TrafficSecrets,
  srtpProfile: SrtpProfile | undefined,
): void {
  const { options, transcript } = hs;
  const extensions = new Map<number, Buffer>();
  if (srtpProfile) extensions.set(extensionType.useSrtp, encodeSrtpProfiles([srtpProfileIds[srtpProfile]]));
  hs.queue(handshakeType.encryptedExtensions, encodeExtensions(extensions), 2);
  hs.queue(handshakeType.certificateRequest, encodeCertificateRequest('1.3'), 2);
  hs.queue(handshakeType.certificate, encodeCertificate('1.3', options.identity.certificate), 2);
  const signed = certificateVerifyContent('server', transcript.digest());
  hs.queue(handshakeType.certificateVerify, signedByUs(hs, signed), 2);
  hs.queue(handshakeType.finished, finishedData(suite.hash, secrets.server, transcript.digest()), 2);
}
