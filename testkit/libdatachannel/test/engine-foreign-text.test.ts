import { fuzzRuns } from '@claw/testkit';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createNodeDataChannelEngine } from '../src/index.ts';

const engine = createNodeDataChannelEngine({ bindAddress: '127.0.0.1' });
const refusal = expect.objectContaining({ code: 'ENGINE_DESCRIPTION_INVALID' });

/** As Chromium writes it. */
const OFFER = [
  'v=0',
  'o=- 4611731400430051336 2 IN IP4 127.0.0.1',
  's=-',
  't=0 0',
  'a=group:BUNDLE 0',
  'a=extmap-allow-mixed',
  'a=msid-semantic: WMS',
  'm=application 9 UDP/DTLS/SCTP webrtc-datachannel',
  'c=IN IP4 0.0.0.0',
  'a=candidate:1 1 udp 2113937151 0a1b2c3d-aaaa-bbbb-cccc-0123456789ab.local 50000 typ host generation 0 network-cost 999',
  'a=candidate:2 1 udp 1677729535 192.0.2.7 50001 typ srflx raddr 0.0.0.0 rport 0 generation 0',
  'a=ice-ufrag:EsAw',
  'a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1',
  'a=ice-options:trickle',
  `a=fingerprint:sha-256 ${Array.from({ length: 32 }, (_, index) => (index + 16).toString(16).toUpperCase()).join(':')}`,
  'a=setup:actpass',
  'a=mid:0',
  'a=sctp-port:5000',
  'a=max-message-size:262144',
  '',
].join('\r\n');

/** Hands `sdp` to a fresh connection and tells what came of it. */
async function offerTo(sdp: string): Promise<string> {
  const connection = engine.createPeerConnection({});
  try {
    connection.createDataChannel('0', { negotiated: true, id: 0 });
    await connection.setRemoteDescription({ type: 'offer', sdp });
    return (await connection.setLocalDescription()).sdp;
  } finally {
    connection.close();
  }
}

describe('a description of a stranger', () => {
  test('as a browser writes it is answered, as the DTLS server', async () => {
    expect(await offerTo(OFFER)).toContain('a=setup:passive');
  });

  test('with the role of a server is answered as the client', async () => {
    expect(await offerTo(OFFER.replace('actpass', 'passive'))).toContain('a=setup:active');
  });

  test.each([
    ['without a fingerprint', /a=fingerprint.*\r\n/, ''],
    ['with a weak fingerprint', 'sha-256', 'sha-1'],
    ['with two fingerprints', 'a=setup', 'a=fingerprint:sha-256 00\r\na=setup'],
    ['without a password', /a=ice-pwd.*\r\n/, ''],
    ['with a short password', /ice-pwd.*\r\n/, 'ice-pwd:abc\r\n'],
    ['with a huge user name', 'EsAw', 'x'.repeat(257)],
    ['with another role', 'actpass', 'holdconn'],
    ['with two sections', 'm=application', 'm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nm=application'],
    ['with another protocol', 'UDP/DTLS/SCTP', 'UDP/TLS/RTP/SAVPF'],
    ['with port 0 of SCTP', 'sctp-port:5000', 'sctp-port:0'],
    ['with a port of SCTP beyond 16 bits', 'sctp-port:5000', 'sctp-port:65536'],
    ['with a negative size', 'max-message-size:262144', 'max-message-size:-1'],
    ['with a size beyond 64 bits', 'max-message-size:262144', `max-message-size:${'9'.repeat(30)}`],
    ['with a name in place of an address', '192.0.2.7', 'metadata.internal'],
    ['with a hundred candidates', /a=candidate:2.*\r\n/, 'a=candidate:2 1 udp 1 192.0.2.7 1 typ host\r\n'.repeat(100)],
    ['with a null byte', 'EsAw', 'EsAw\0'],
    ['with a long mid', 'a=mid:0', `a=mid:${'m'.repeat(17)}`],
  ])('%s is refused', async (_, part, replacement) => {
    await expect(offerTo(OFFER.replace(part, replacement))).rejects.toEqual(refusal);
  });

  test('with parts cut, doubled, moved and overwritten is answered or refused, and nothing breaks (fuzz)', async () => {
    const lines = OFFER.split('\r\n');
    const edit = fc.tuple(
      fc.constantFrom('cut', 'double', 'swap', 'overwrite', 'insert'),
      fc.nat(lines.length - 1),
      fc.nat(lines.length - 1),
      fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.constantFrom('65536', '-1', '%s%n', '\r', '\n', '\0')),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 4 }), async (edits) => {
        const edited = [...lines];
        for (const [what, at, to, text] of edits) {
          const line = edited[at] ?? '';
          if (what === 'cut') edited.splice(at, 1);
          else if (what === 'double') edited.splice(to, 0, line);
          else if (what === 'swap') [edited[at], edited[to]] = [edited[to] ?? '', line];
          else edited[at] = line.slice(0, to) + text + line.slice(what === 'insert' ? to : to + text.length);
        }
        const outcome = await offerTo(edited.join('\r\n')).catch((error: unknown) => error);
        if (typeof outcome === 'string') expect(outcome).toContain('a=fingerprint');
        else expect(outcome).toEqual(refusal);
      }),
      // Each accepted one makes a certificate and a socket: a tenth of the usual number.
      { numRuns: Math.ceil(fuzzRuns / 10) },
    );
  });

  test('of any text is refused, and nothing breaks (fuzz)', async () => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.string(), fc.string({ unit: 'binary', maxLength: 500 })), async (sdp) => {
        await expect(offerTo(sdp)).rejects.toEqual(refusal);
      }),
      { numRuns: Math.ceil(fuzzRuns / 10) },
    );
  });
});

describe('a candidate of a stranger', () => {
  async function add(candidates: readonly string[]): Promise<void> {
    const connection = engine.createPeerConnection({});
    try {
      connection.createDataChannel('0', { negotiated: true, id: 0 });
      await connection.setRemoteDescription({ type: 'offer', sdp: OFFER });
      await connection.setLocalDescription();
      for (const candidate of candidates) await connection.addIceCandidate({ candidate, sdpMid: 'other' });
    } finally {
      connection.close();
    }
  }

  test.each([
    'candidate:1 1 udp 1 192.0.2.1 5000 typ host',
    'a=candidate:1 1 UDP 1 2001:db8::1 5000 typ relay raddr 192.0.2.1 rport 9 generation 0 ufrag x',
    'candidate:1 1 tcp 1 192.0.2.1 9 typ host tcptype active',
    'candidate:1 2 udp 1 192.0.2.1 5000 typ host',
    'candidate:1 1 udp 1 anything.local 5000 typ host',
    'candidate:1 1 udp 1 0.0.0.0 5000 typ host',
    'candidate:1 1 udp 1 224.0.0.1 5000 typ host',
    '',
  ])('%j is taken or passed over', async (candidate) => {
    await expect(add([candidate, candidate])).resolves.toBeUndefined();
  });

  test.each([
    'candidate:1 1 udp 1 example.org 5000 typ host',
    'candidate:1 1 udp 99999999999 192.0.2.1 5000 typ host',
    'candidate:1 1 udp 1 192.0.2.1 65536 typ host',
    'candidate:1 1 sctp 1 192.0.2.1 5000 typ host',
    'candidate:1 1 udp 1 192.0.2.1 5000 typ alien',
    `candidate:${'1'.repeat(33)} 1 udp 1 192.0.2.1 5000 typ host`,
    'candidate:1 1 udp 1 192.0.2.1 5000 typ host\r\na=ice-pwd:x',
  ])('%j is refused', async (candidate) => {
    await expect(add([candidate])).rejects.toEqual(refusal);
  });

  test('after the 64th different one is refused', async () => {
    const many = Array.from({ length: 65 }, (_, port) => `candidate:1 1 udp 1 192.0.2.1 ${port + 1} typ host`);
    await expect(add(many.slice(0, 64))).resolves.toBeUndefined();
    await expect(add(many)).rejects.toEqual(refusal);
  });

  test('of any text is taken or refused, and nothing breaks (fuzz)', async () => {
    const word = fc.oneof(
      fc.constantFrom(
        'candidate:1',
        '1',
        'udp',
        'tcp',
        '5000',
        '192.0.2.1',
        '::1',
        'typ',
        'host',
        'relay',
        'raddr',
        'tcptype',
      ),
      fc.string({ maxLength: 12 }),
      fc.nat().map(String),
    );
    const line = fc.oneof(
      fc.string(),
      fc.array(word, { maxLength: 12 }).map((words) => words.join(' ')),
    );
    const connection = engine.createPeerConnection({});
    connection.createDataChannel('0', { negotiated: true, id: 0 });
    await connection.setRemoteDescription({ type: 'offer', sdp: OFFER });
    await connection.setLocalDescription();
    try {
      await fc.assert(
        fc.asyncProperty(line, async (candidate) => {
          const outcome = await connection
            .addIceCandidate({ candidate, sdpMid: null })
            .catch((error: unknown) => error);
          if (outcome !== undefined) expect(outcome).toEqual(refusal);
        }),
        { numRuns: fuzzRuns },
      );
    } finally {
      connection.close();
    }
  });
});

test.each([
  [{ urls: 'stun:[2001:db8::1]:3479' }, undefined],
  [
    { urls: ['stun:stun.example.org', 'turn:turn.example.org?transport=tcp'], username: 'u', credential: 'c' },
    undefined,
  ],
  [{ urls: 'http://example.org' }, 'not a STUN or TURN URL'],
  [{ urls: 'turn:turn.example.org' }, 'needs username and credential'],
])('an ICE server %j', (server, message) => {
  const create = () => engine.createPeerConnection({ iceServers: [server] }).close();
  if (message) expect(create).toThrow(message);
  else expect(create).not.toThrow();
});
