import { createSecureContext } from 'node:tls';
import type {
  KeyHolder,
  NodeId,
  ProofRequest,
  RtcDataChannel,
  RtcDataChannelInit,
  RtcEngine,
  RuntimeFacts,
} from '@claw/contracts';
import type { NodeKey } from '@claw/identity';
import { MemoryRtcNetwork, type MemoryRtcOptions, seededRandom, VirtualClock } from '@claw/testkit';
import { describe, expect, test } from 'vitest';
import type { AttemptMessage } from '../src/connect/attempt-messages.ts';
import type { Link } from '../src/connect/link.ts';
import type { LinkPolicy } from '../src/handshake/link-policy.ts';
import { NonceBook } from '../src/handshake/nonce-book.ts';
import type { IncomingChannel } from '../src/session/incoming-channel.ts';
import { CONTROL_LANE } from '../src/session/lanes.ts';
import {
  type AttemptPairOptions,
  codesOf,
  FACTS,
  makeContext,
  makeKey,
  runAttempt,
  runSettled,
  runUntil,
  type SideOptions,
  tappedEngine,
} from './link-nodes.ts';

const CLEARTEXT = 0;
const other: RuntimeFacts = { integrity: 'b'.repeat(64), version: '2.0.0' };

/** A delay after which no test is still there. */
const NEVER_MS = 1e7;

function open(options: Partial<AttemptPairOptions> = {}, rtc: MemoryRtcOptions = {}) {
  const clock = new VirtualClock();
  const network = new MemoryRtcNetwork({ clock, delayMs: 5, ...rtc });
  const sent: { lane: number; data: Buffer }[] = [];
  const tap = (lane: number, data: Uint8Array) => void sent.push({ lane, data: Buffer.from(data) });
  const incoming: string[] = [];
  const run = (more: Partial<AttemptPairOptions> = {}) => runAttempt(clock, { network, tap, ...options, ...more });
  return { clock, network, sent, incoming, run };
}

/** A key holder that is `key` but for what `change` says. */
function impostor(key: NodeKey, change: Partial<KeyHolder>): KeyHolder {
  return {
    nodeId: key.nodeId,
    facts: key.facts,
    sign: key.sign.bind(key),
    issueLeaf: key.issueLeaf.bind(key),
    issueSealingKey: key.issueSealingKey.bind(key),
    prove: key.prove.bind(key),
    close: async () => {},
    [Symbol.asyncDispose]: async () => {},
    ...change,
  };
}

/** A key holder that names `other` in its claim, and is sound in everything else. */
function liar(key: NodeKey, other: NodeId): KeyHolder {
  let proved = false;
  const prove = (request: ProofRequest) => {
    proved = true;
    return key.prove(request);
  };
  return Object.defineProperty(impostor(key, { prove }), 'nodeId', {
    get: () => {
      const lie = proved; // the claim is written right after the proof was made
      proved = false;
      return lie ? other : key.nodeId;
    },
  });
}

/** An engine whose control channel the test can reach; `first` speaks before the link's first word. */
function capturing(network: MemoryRtcNetwork, first?: (send: (data: Uint8Array) => void) => void) {
  const channels: RtcDataChannel[] = [];
  const inner = tappedEngine(network, seededRandom(5));
  const engine: RtcEngine = {
    name: inner.name,
    createPeerConnection(configuration) {
      const connection = inner.createPeerConnection(configuration);
      const create = connection.createDataChannel.bind(connection);
      return Object.assign(connection, {
        createDataChannel: (label: string, init: RtcDataChannelInit) => {
          const channel = create(label, init);
          if (init.id !== CONTROL_LANE) return channel;
          channels.push(channel);
          const send = channel.send.bind(channel);
          let spoken = false;
          return Object.assign(channel, {
            send: (data: Uint8Array) => {
              if (!spoken) first?.(send);
              spoken = true;
              send(data);
            },
          });
        },
      });
    },
  };
  return { engine, control: () => channels[0] };
}

function linked(outcome: PromiseSettledResult<Link>): Link {
  if (outcome.status === 'rejected') throw outcome.reason;
  return outcome.value;
}

describe('an attempt', () => {
  test('between two paired nodes links them, and each knows the other', async () => {
    const { clock, run } = open();
    const outcome = await run({ server: { key: makeKey(2, clock, other) } });
    const [client, server] = [linked(outcome.client), linked(outcome.server)];
    expect(client.peer).toBe(makeKey(2, clock).nodeId);
    expect(server.peer).toBe(makeKey(1, clock).nodeId);
    expect(client.facts).toMatchObject({ role: 'client', peerRuntime: other, cipher: 'TLS_AES_256_GCM_SHA384' });
    expect(server.facts).toMatchObject({
      role: 'server',
      peerRuntime: FACTS,
      warnings: [expect.stringContaining('differs')],
    });
    expect(Object.keys(client.facts.phases)).toEqual(
      expect.arrayContaining(['described', 'answered', 'connected', 'authenticated', 'operational']),
    );
  });

  test('carries streams from the first moment, and nothing of them in the clear', async () => {
    const secret = 'the plaintext that nobody but the two may read';
    const opened: IncomingChannel[] = [];
    const { clock, sent, network, run } = open({
      server: { environment: { onIncoming: (_, channel) => void opened.push(channel) } },
    });
    const carried: AttemptMessage[] = [];
    const outcome = await run({ carry: (message) => (carried.push(message), message) });
    linked(outcome.client).openStream(secret, Buffer.from(secret)).end(secret);
    void linked(outcome.client)
      .openMessages('m')
      .send(Buffer.from(secret.repeat(4000)));
    void linked(outcome.client).openMessages('l', { ordered: false, reliable: false }).send(Buffer.from(secret));
    await runUntil(clock, () => opened.length === 3);
    linked(outcome.server).close('LINK_CLOSED', secret);
    await runUntil(clock, () => network.openConnections === 0);
    const everything = Buffer.concat([
      ...sent.map(({ data }) => data),
      ...carried.map((message) => Buffer.from(JSON.stringify(message))),
    ]);
    expect(everything.length).toBeGreaterThan(secret.length * 4000);
    for (const part of [secret, secret.slice(4, 20), FACTS.integrity, makeKey(1, clock).nodeId]) {
      expect(everything.includes(part)).toBe(false);
    }
  });

  test('ends at both sides with the code of whoever closes', async () => {
    const { clock, network, run } = open();
    const outcome = await run();
    linked(outcome.client).close('LINK_UNPAIRED', 'no longer welcome');
    await runUntil(clock, () => network.openConnections === 0);
    expect(await linked(outcome.client).ended).toMatchObject({ code: 'LINK_UNPAIRED' });
    expect(await linked(outcome.server).ended).toMatchObject({ code: 'LINK_UNPAIRED', message: 'no longer welcome' });
    await clock.advance(1000);
    expect(clock.pendingTimers).toBe(0);
  });

  test('links nodes whose TLS agrees on a group only at the second hello', async () => {
    const { clock, run } = open();
    const key = makeKey(2, clock);
    const outcome = await run({
      client: {
        environment: {
          certificates: { take: () => makeContext(makeKey(1, clock), { ecdhCurve: 'X25519MLKEM768:X25519' }) },
        },
      },
      server: { key, environment: { certificates: { take: () => makeContext(key, { ecdhCurve: 'X25519' }) } } },
    });
    expect(linked(outcome.client).facts.keyExchange).toBe('X25519');
    expect(codesOf(outcome)).toEqual(['linked', 'linked']);
  });

  test.each([
    ['once', 'X25519MLKEM768:X25519', 1],
    ['again when TLS agrees on a group only at the second hello', 'X25519', 2],
  ])('asks each key holder for its proof %s', async (_, ecdhCurve, times) => {
    const { clock, run } = open();
    const [client, server] = [makeKey(1, clock), makeKey(2, clock)];
    const asked: string[] = [];
    const side = (key: NodeKey, curves: string) => {
      const prove = (request: ProofRequest) => {
        asked.push(`${request.role} ${Buffer.from(request.channelBinding).toString('hex')}`);
        return key.prove(request);
      };
      const certificates = { take: () => makeContext(key, { ecdhCurve: curves }) };
      return { environment: { keyHolder: impostor(key, { prove }), certificates } };
    };
    const outcome = await run({
      client: side(client, 'X25519MLKEM768:X25519'),
      server: side(server, ecdhCurve),
    });
    expect(codesOf(outcome)).toEqual(['linked', 'linked']);
    expect(asked.length).toBe(2 * times);
    // Both sides ended with a proof over the same flights.
    const [last, other] = ['client', 'server'].map((role) => asked.findLast((each) => each.startsWith(role))?.slice(7));
    expect(last).toBe(other);
  });

  test('refuses a proof over the flights of another session', async () => {
    for (const bad of ['client', 'server'] as const) {
      const { clock, run } = open();
      const key = makeKey(bad === 'client' ? 1 : 2, clock);
      const prove = (request: ProofRequest) => key.prove({ ...request, channelBinding: Buffer.alloc(32, 7) });
      const outcome = await run({ [bad]: { environment: { keyHolder: impostor(key, { prove }) } } });
      expect(codesOf(outcome)).toEqual(['LINK_IDENTITY_WRONG', 'LINK_IDENTITY_WRONG']);
    }
  });

  test('links although the path is up long before the handshake and its messages are lost', async () => {
    const { run } = open();
    const outcome = await run({ carry: (message) => (message.kind === 'link.more' ? undefined : message) });
    expect(codesOf(outcome)).toEqual(['linked', 'linked']);
  });

  test('keeps candidates that overtake the answer until the engine can take them', async () => {
    const { network, run } = open();
    const taken: boolean[] = [];
    const inner = tappedEngine(network, seededRandom(5));
    const createPeerConnection: RtcEngine['createPeerConnection'] = (configuration) => {
      const connection = inner.createPeerConnection(configuration);
      const addIceCandidate = async () => void taken.push(connection.remoteDescription !== null);
      return Object.assign(connection, { addIceCandidate });
    };
    const carry = (message: AttemptMessage, from: string) => {
      if (from !== 'server' || message.kind !== 'link.answer') return message;
      const { attempt, candidates } = message;
      const more: AttemptMessage = { kind: 'link.more', attempt, candidates, segments: [] };
      return [more, { ...message, candidates: [] }];
    };
    const engine = { name: 'noting', createPeerConnection };
    const outcome = await run({ client: { environment: { engine } }, carry });
    expect(codesOf(outcome)).toEqual(['linked', 'linked']);
    expect(taken).toEqual([true]);
  });

  test('survives a receiver that throws when a channel comes in', async () => {
    const onIncoming = () => {
      throw new Error('a bug of the application');
    };
    const { clock, run } = open({ server: { environment: { onIncoming } } });
    const outcome = await run();
    const stream = linked(outcome.client).openStream('x');
    await runUntil(clock, () => stream.closed);
    expect(stream.errored).toMatchObject({ code: 'STREAM_TARGET_FAILED' });
    expect(await Promise.race([linked(outcome.server).ended, Promise.resolve('still up')])).toBe('still up');
  });

  test('that became a link ends with LINK_HANDSHAKE_INVALID when rubbish comes unsealed', async () => {
    const { clock, network, run } = open();
    const { engine, control } = capturing(network);
    const outcome = await run({ server: { environment: { engine } } });
    control()?.send(Buffer.from([CLEARTEXT, 0, 0xff]));
    await runUntil(clock, () => network.openConnections === 0);
    expect(await linked(outcome.client).ended).toMatchObject({ code: 'LINK_HANDSHAKE_INVALID' });
    expect(await linked(outcome.server).ended).toMatchObject({ code: 'LINK_HANDSHAKE_INVALID' });
  });

  test('that became a link stays when handshake messages are repeated unsealed', async () => {
    const { clock, network, sent, run } = open();
    const { engine, control } = capturing(network);
    const outcome = await run({ server: { environment: { engine } } });
    const cleartext = sent.filter(({ data }) => data[0] === CLEARTEXT);
    expect(cleartext.length).toBeGreaterThan(0);
    for (const { data } of cleartext) control()?.send(data);
    await clock.advance(100);
    expect(await runSettled(clock, linked(outcome.client).ping())).toBe(10);
  });
});

type Case = [what: string, code: string, sides: (clock: VirtualClock) => Partial<AttemptPairOptions>];

const integrityPolicy = (integrity: LinkPolicy['integrity']): SideOptions => ({
  environment: { policy: () => ({ integrity }) },
});

/** A nonce book whose nonces are spent as soon as they are minted. */
function spentBook(clock: VirtualClock): NonceBook {
  const book = new NonceBook(clock, seededRandom(3));
  const mint = book.mint.bind(book);
  return Object.assign(book, {
    mint: (lifetimeMs: number) => {
      const nonce = mint(lifetimeMs);
      book.spend(nonce);
      return nonce;
    },
  });
}

function agedBook(): NonceBook {
  const own = new VirtualClock();
  const book = new NonceBook(own, seededRandom(3));
  const mint = book.mint.bind(book);
  return Object.assign(book, {
    mint: (lifetimeMs: number) => {
      const nonce = mint(lifetimeMs);
      void own.advance(lifetimeMs + 1);
      return nonce;
    },
  });
}

const swapFingerprint = (sdp: string) =>
  sdp.replace(/(a=fingerprint:sha-256 )(..)/, (_, head, byte) => `${head}${byte === '00' ? '01' : '00'}`);
const dropCertificate = { take: async () => createSecureContext({ minVersion: 'TLSv1.3' }) };

const REFUSALS: Case[] = (['client', 'server'] as const).flatMap((bad): Case[] => {
  const seed = bad === 'client' ? 1 : 2;
  const good = bad === 'client' ? 'server' : 'client';
  const with_ = (side: (key: NodeKey, clock: VirtualClock) => SideOptions) => (clock: VirtualClock) => {
    const key = makeKey(seed, clock);
    return { [bad]: { key, ...side(key, clock) } };
  };
  return [
    [
      `the ${bad} shows a leaf of another key`,
      'LINK_IDENTITY_WRONG',
      with_((_, clock) => ({ environment: { certificates: { take: () => makeContext(makeKey(99, clock)) } } })),
    ],
    [
      `the ${bad} shows its leaf and another key's proof`,
      'LINK_IDENTITY_WRONG',
      with_((key, clock) => {
        const stranger = makeKey(99, clock);
        return { environment: { keyHolder: impostor(key, { prove: stranger.prove.bind(stranger) }) } };
      }),
    ],
    [
      `the ${bad} claims to be another node`,
      'LINK_IDENTITY_WRONG',
      with_((key, clock) => ({ environment: { keyHolder: liar(key, makeKey(99, clock).nodeId) } })),
    ],
    [
      `the ${bad} runs other software and the ${good} requires the same`,
      'LINK_INTEGRITY_MISMATCH',
      (clock) => ({
        [bad]: { key: makeKey(seed, clock, { ...FACTS, integrity: 'b'.repeat(64) }) },
        [good]: integrityPolicy('require'),
      }),
    ],
    [
      `the ${bad} says other facts than it proves`,
      'LINK_IDENTITY_WRONG',
      with_((key) => ({
        environment: {
          keyHolder: impostor(key, {
            prove: async (request) => ({ ...(await key.prove(request)), facts: { ...FACTS, version: '9.9.9' } }),
          }),
        },
      })),
    ],
    [
      `the ${bad} is too old for the ${good}`,
      'LINK_VERSION_REFUSED',
      () => ({ [good]: { environment: { policy: () => ({ integrity: 'off', minVersion: '1.0.1' }) } } }),
    ],
    [
      `the ${bad} is too new for the ${good}`,
      'LINK_VERSION_REFUSED',
      () => ({ [good]: { environment: { policy: () => ({ integrity: 'off', maxVersion: '0.9.9' }) } } }),
    ],
    [
      `the ${bad} shows a leaf that has expired`,
      'LINK_CERTIFICATE_EXPIRED',
      with_((_, clock) => ({
        environment: {
          certificates: {
            take: () => makeContext(makeKey(seed, new VirtualClock({ nowMs: clock.now() - 7_200_000 }))),
          },
        },
      })),
    ],
    [
      `the ${bad} shows a leaf of the future`,
      'LINK_CERTIFICATE_EXPIRED',
      with_((_, clock) => ({
        environment: {
          certificates: {
            take: () => makeContext(makeKey(seed, new VirtualClock({ nowMs: clock.now() + 7_200_000 }))),
          },
        },
      })),
    ],
    [
      `the ${bad} makes a malformed claim`,
      'LINK_HANDSHAKE_INVALID',
      with_((key) => ({
        environment: {
          keyHolder: impostor(key, {
            prove: async (request) => ({ ...(await key.prove(request)), facts: { ...FACTS, version: 'one' } }),
          }),
        },
      })),
    ],
    [
      `the ${bad} makes a claim that is too long`,
      'LINK_HANDSHAKE_INVALID',
      with_((key) => ({
        environment: {
          keyHolder: impostor(key, {
            prove: async (request) => ({
              ...(await key.prove(request)),
              facts: { ...FACTS, version: `1.0.0-${'x'.repeat(4000)}` },
            }),
          }),
        },
      })),
    ],
    [
      `the ${bad} speaks TLS 1.2`,
      'LINK_HANDSHAKE_INVALID',
      with_((key) => ({
        environment: {
          certificates: { take: () => makeContext(key, { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' }) },
        },
      })),
    ],
    [
      `the ${bad} shows no certificate`,
      'LINK_HANDSHAKE_INVALID',
      with_(() => ({ environment: { certificates: dropCertificate } })),
    ],
    [
      `the ${bad} answers a nonce that is too old`,
      'LINK_NONCE_STALE',
      () => ({ [good]: { environment: { nonces: agedBook() } } }),
    ],
    [
      `the ${bad} answers a nonce that was answered before`,
      'LINK_NONCE_REPLAYED',
      (clock) => ({ [good]: { environment: { nonces: spentBook(clock) } } }),
    ],
    [
      `somebody swaps the fingerprint of the ${bad} on the way`,
      'LINK_BINDING_MISMATCH',
      () => ({
        carry: (message, from) =>
          from === bad && 'sdp' in message ? { ...message, sdp: swapFingerprint(message.sdp) } : message,
      }),
    ],
    [
      `somebody adds to the description of the ${bad} on the way`,
      'LINK_BINDING_MISMATCH',
      () => ({
        carry: (message, from) =>
          from === bad && 'sdp' in message
            ? { ...message, sdp: message.sdp.replace('a=fing', 'a=fingerprint:sha-1 00\r\na=fing') }
            : message,
      }),
    ],
  ];
});

describe('an attempt in which', () => {
  test.each(REFUSALS)('%s is refused with %s at both sides, before any application byte', async (_, code, sides) => {
    const { clock, network, sent, incoming, run } = open();
    const onIncoming = () => void incoming.push('channel');
    const changes = sides(clock);
    for (const side of ['client', 'server'] as const) {
      (changes as Record<string, SideOptions>)[side] = {
        ...changes[side],
        environment: { onIncoming, ...changes[side]?.environment },
      };
    }
    const outcome = await run(changes);
    expect(codesOf(outcome)).toEqual([code, code]);
    expect(sent.filter(({ lane, data }) => lane !== CONTROL_LANE || data[0] !== CLEARTEXT)).toEqual([]);
    expect(incoming).toEqual([]);
    await runUntil(clock, () => network.openConnections === 0);
    await clock.advance(1000);
    expect(clock.pendingTimers).toBe(0);
  });

  test.each(['warn', 'off'] as const)('the software differs and the policy is "%s" links', async (integrity) => {
    const { clock, run } = open();
    const outcome = await run({
      client: integrityPolicy(integrity),
      server: { key: makeKey(2, clock, { ...FACTS, integrity: 'b'.repeat(64) }) },
    });
    expect(linked(outcome.client).facts.warnings).toHaveLength(integrity === 'warn' ? 1 : 0);
  });

  const isHandshake = (message: AttemptMessage) => message.kind === 'link.more' && message.segments.length > 0;

  test.each<[string, 'client' | 'server', (message: AttemptMessage) => boolean]>([
    ['the answer', 'server', (message) => message.kind === 'link.answer'],
    ["the client's claim", 'client', isHandshake],
    ["the server's claim", 'server', isHandshake],
  ])('%s never comes ends with LINK_HANDSHAKE_TIMEOUT at both sides', async (_, silent, isLost) => {
    const { network, sent, run } = open({}, { delayMs: NEVER_MS });
    const outcome = await run({
      deadlineMs: 3000,
      carry: (message, from) => (from === silent && isLost(message) ? undefined : message),
    });
    expect(codesOf(outcome)).toEqual(['LINK_HANDSHAKE_TIMEOUT', 'LINK_HANDSHAKE_TIMEOUT']);
    expect(sent).toEqual([]);
    expect(network.openConnections).toBe(0);
  });

  test('the path never comes up ends with LINK_HANDSHAKE_TIMEOUT at both sides', async () => {
    const outcome = await open({}, { delayMs: NEVER_MS }).run({ deadlineMs: 3000 });
    expect(codesOf(outcome)).toEqual(['LINK_HANDSHAKE_TIMEOUT', 'LINK_HANDSHAKE_TIMEOUT']);
  });

  test('the server sends records before its claim is refused by the client', async () => {
    const { network, run } = open();
    const record = Buffer.concat([Buffer.from([1, 0, 0, 0, 0, 0, 0]), Buffer.alloc(20)]);
    const { engine } = capturing(network, (send) => send(record));
    // Its claim is lost in signaling, so the first that it says is said on the control lane.
    const carry = (message: AttemptMessage, from: string) =>
      from === 'server' && message.kind === 'link.more' ? undefined : message;
    const outcome = await run({ server: { environment: { engine } }, carry });
    expect(codesOf(outcome)).toEqual(['LINK_PROTOCOL_VIOLATED', 'LINK_PROTOCOL_VIOLATED']);
  });
});
