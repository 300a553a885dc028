import { fuzzRuns, seededRandom } from '@claw/testkit';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  formatDescription,
  type LocalDescription,
  parseDescription,
  readCandidate,
} from '../src/session-description.ts';

const random = seededRandom(1);
const LOCAL: LocalDescription = {
  sessionId: '1',
  sessionVersion: 1,
  ice: { usernameFragment: 'abcd', password: 'abcdefghijklmnopqrstuv' },
  fingerprints: [{ algorithm: 'sha-256', value: random.bytes(32) }],
  setup: 'actpass',
  mid: '0',
  sctpPort: 5000,
  maxMessageBytes: 262_144,
  maxDatagramBytes: 16_384,
  sctpInit: random.bytes(40),
  candidates: [],
  endOfCandidates: true,
  others: [],
  position: 0,
};
const SDP = formatDescription(LOCAL);
const REFUSED = expect.objectContaining({ code: 'ENGINE_DESCRIPTION_INVALID' });

/** As Chromium offers audio before data. */
const WITH_AUDIO = SDP.replace(
  'm=application',
  'm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:a\r\nm=application',
);

describe('a description', () => {
  it('reads as it was written', () => {
    const { sessionId: _, sessionVersion: __, ...facts } = LOCAL;
    const ice = { ...facts.ice, isLite: false, canRenominate: true, canEmbed: true };
    expect(parseDescription(SDP)).toEqual({ ...facts, ice, canTrickle: true });
  });

  it('may have its fingerprint and credentials at the session', () => {
    const lines = SDP.split('\r\n');
    const moved = lines.filter((line) => /^a=(?:ice-|fingerprint|setup)/.test(line));
    const sdp = ['v=0', ...moved, ...lines.slice(1).filter((line) => !moved.includes(line))].join('\r\n');
    expect(parseDescription(sdp).fingerprints).toEqual(LOCAL.fingerprints);
  });

  it('with another section is answered with that section turned down, in its place', () => {
    const { others, position } = parseDescription(WITH_AUDIO);
    expect(position).toBe(1);
    const answer = formatDescription({ ...LOCAL, others, position });
    expect(answer.match(/^m=.*$/gm)).toEqual([
      'm=audio 0 UDP/TLS/RTP/SAVPF 111',
      'm=application 9 UDP/DTLS/SCTP webrtc-datachannel',
    ]);
  });

  it.each([
    ['a weak fingerprint', SDP.replace('sha-256', 'sha-1'), 'SHA-256'],
    ['a fingerprint that is cut', SDP.replace(/(a=fingerprint:sha-256 ..).*/, '$1:'), 'malformed'],
    ['no credentials', SDP.replace(/a=ice-pwd:.*\r\n/, ''), 'credentials'],
    ['credentials that are too short', SDP.replace(/a=ice-pwd:.*/, 'a=ice-pwd:short'), 'credentials'],
    ['no setup', SDP.replace(/a=setup:.*\r\n/, ''), 'setup'],
    ['a setup of its own', SDP.replace('actpass', 'holdconn'), 'setup'],
    ['a port that is no number', SDP.replace('sctp-port:5000', 'sctp-port:x'), 'sctp-port'],
    ['data turned down', SDP.replace('m=application 9', 'm=application 0'), 'turned down'],
    ['a hundred sections', SDP + 'm=audio 9 X 1\r\n'.repeat(100), 'sections'],
  ])('with %s is refused and the reason told', (_, sdp, reason) => {
    expect(() => parseDescription(sdp)).toThrow(REFUSED);
    expect(() => parseDescription(sdp)).toThrow(reason);
  });

  it('passes over an INIT that is no base64, and the handshake takes place', () => {
    expect(parseDescription(SDP.replace(/a=sctp-init:.*/, 'a=sctp-init:???')).sctpInit).toBeUndefined();
  });

  it('that was cut, overwritten or made up is read or refused (fuzz)', () => {
    const lines = SDP.split('\r\n');
    const altered = fc
      .tuple(fc.nat(SDP.length), fc.nat(40), fc.string())
      .map(([at, length, text]) => SDP.slice(0, at) + text + SDP.slice(at + length));
    const shuffled = fc.shuffledSubarray(lines).map((some) => ['v=0', ...some].join('\r\n'));
    fc.assert(
      fc.property(fc.oneof(altered, shuffled, fc.string()), (sdp) => {
        try {
          parseDescription(sdp);
        } catch (error) {
          expect(error).toEqual(REFUSED);
        }
      }),
      { numRuns: fuzzRuns },
    );
  });

  it('candidate of any text is read or refused (fuzz)', () => {
    const words = fc.array(
      fc.oneof(fc.constantFrom('1', 'udp', '127.0.0.1', '9', 'typ', 'host', 'raddr'), fc.string()),
    );
    fc.assert(
      fc.property(
        fc.oneof(
          words.map((some) => `candidate:${some.join(' ')}`),
          fc.string(),
        ),
        (line) => {
          try {
            readCandidate(line);
          } catch (error) {
            expect(error).toEqual(REFUSED);
          }
        },
      ),
      { numRuns: fuzzRuns },
    );
  });
});
