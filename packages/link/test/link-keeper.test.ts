import { silentLogger } from '@claw/base';
import type { NodeId, RtcPeerConnection } from '@claw/contracts';
import { type Message, openRouter, type Router } from '@claw/signaling';
import { MemoryNetwork, MemoryRtcNetwork, type MemoryRtcOptions, seededRandom, VirtualClock } from '@claw/testkit';
import { afterEach, describe, expect, test } from 'vitest';
import {
  type DescriptionMessage,
  decodeAttemptMessage,
  encodeAttemptMessage,
} from '../src/connect/attempt-messages.ts';
import type { Link } from '../src/connect/link.ts';
import { LinkKeeper } from '../src/connect/link-keeper.ts';
import { DEFAULT_SESSION_LIMITS } from '../src/session/limits.ts';
import { makeContext, makeKey, runSettled, runUntil, tappedEngine } from './link-nodes.ts';

interface TestNode {
  readonly id: NodeId;
  readonly keeper: LinkKeeper;
  readonly router: Router;
  /** Every link it ever had. */
  readonly links: Link[];
  connectionsMade: number;
  /** The last one. */
  connection: RtcPeerConnection | undefined;
  candidatesTaken: number;
}

interface FabricOptions extends MemoryRtcOptions {
  /** Share of envelopes that signaling loses. */
  readonly signalingLoss?: number;
  /** Longest delay of an envelope, drawn for each. */
  readonly signalingDelayMs?: number;
}

const open: Fabric[] = [];

/** Nodes on one network and one way of signaling, in virtual time. */
class Fabric {
  readonly clock = new VirtualClock();
  readonly rtc: MemoryRtcNetwork;
  readonly #signaling: MemoryNetwork;
  readonly #sealingKeys = new Map<NodeId, Uint8Array>();
  readonly #nodes: TestNode[] = [];

  constructor({ signalingLoss = 0, signalingDelayMs = 0, ...rtc }: FabricOptions = {}) {
    this.rtc = new MemoryRtcNetwork({ delayMs: 5, ...rtc, clock: this.clock });
    const random = seededRandom((rtc.seed ?? 1) + 1000);
    const arriving = new WeakSet<Uint8Array>();
    this.#signaling = new MemoryNetwork((envelope, to) => {
      if (arriving.has(envelope)) return [envelope];
      if (random.fraction() < signalingLoss) return [];
      const copy = Uint8Array.from(envelope);
      arriving.add(copy);
      this.clock.setTimer(random.fraction() * signalingDelayMs, () => this.#signaling.carry(to, copy));
      return [];
    });
    open.push(this);
  }

  /** `intercept` says what a message becomes before the keeper has it. */
  async node(seed: number, intercept = (message: Message): Message[] => [message]): Promise<TestNode> {
    const { clock } = this;
    const key = makeKey(seed, clock);
    const sealingKey = await key.issueSealingKey();
    this.#sealingKeys.set(key.nodeId, sealingKey.publicKey);
    const random = seededRandom(seed * 7919 + this.#nodes.length);
    const router = openRouter({
      keyHolder: key,
      sealingKey,
      authorize: () => true,
      onMessage: (message) => {
        for (const each of intercept(message)) keeper.receive(each);
      },
      clock,
      random,
    });
    router.addCarrier((onEnvelope) => this.#signaling.open({ nodeId: key.nodeId, onEnvelope }));
    const inner = tappedEngine(this.rtc, random);
    const createPeerConnection: typeof inner.createPeerConnection = (configuration) => {
      node.connectionsMade += 1;
      const connection = inner.createPeerConnection(configuration);
      const addIceCandidate = async () => void (node.candidatesTaken += 1);
      node.connection = Object.assign(connection, { addIceCandidate });
      return node.connection;
    };
    const keeper = new LinkKeeper({
      environment: {
        keyHolder: key,
        certificates: { take: () => makeContext(key) },
        engine: { name: 'counting', createPeerConnection },
        rtc: () => ({}),
        policy: () => ({ integrity: 'warn' }),
        limits: DEFAULT_SESSION_LIMITS,
        clock,
        logger: silentLogger,
        onIncoming: (_, channel) => channel.refuse('STREAM_UNKNOWN_SERVICE', 'none here'),
      },
      post: (to, kind, body, lifetimeMs) => {
        const sealingKeyOfPeer = this.#sealingKeys.get(to) as Uint8Array;
        return router.post({ to, sealingKey: sealingKeyOfPeer }, kind, body, { lifetimeMs });
      },
      random,
    });
    const node: TestNode = {
      id: key.nodeId,
      keeper,
      router,
      links: [],
      connectionsMade: 0,
      connection: undefined,
      candidatesTaken: 0,
    };
    keeper.on('link', (link) => node.links.push(link));
    this.#nodes.push(node);
    return node;
  }

  until(condition: () => boolean, limitMs?: number): Promise<void> {
    return runUntil(this.clock, condition, limitMs);
  }

  settled<T>(promise: Promise<T>, limitMs?: number): Promise<T> {
    return runSettled(this.clock, promise, limitMs);
  }

  async pass(ms: number): Promise<void> {
    const endMs = this.clock.monotonicMs() + ms;
    await this.until(() => this.clock.monotonicMs() >= endMs, ms + 1000);
  }

  /** Closes everything; throws when something is left. */
  async close(): Promise<void> {
    await this.settled(
      Promise.all(this.#nodes.map(async ({ keeper, router }) => Promise.all([keeper.close(), router.close()]))),
    );
    await this.pass(60_000);
    const left = `${this.rtc.openConnections} connections and ${this.clock.pendingTimers} timers`;
    if (left !== '0 connections and 0 timers') throw new Error(`${left} were left behind`);
  }
}

afterEach(async () => {
  for (const fabric of open.splice(0)) await fabric.close();
});

const isLinked = (node: TestNode, peer: TestNode) => node.keeper.status(peer.id)?.state === 'linked';

async function linkedPair(options?: FabricOptions) {
  const fabric = new Fabric(options);
  const [ada, bob] = [await fabric.node(1), await fabric.node(2)];
  ada.keeper.keep(bob.id);
  bob.keeper.listen(ada.id);
  await fabric.until(() => isLinked(ada, bob) && isLinked(bob, ada));
  return { fabric, ada, bob };
}

describe('a keeper', () => {
  test('links with a peer that only listens, in one attempt', async () => {
    const { ada, bob } = await linkedPair();
    expect([ada.connectionsMade, bob.connectionsMade]).toEqual([1, 1]);
    expect(await ada.keeper.linkTo(bob.id)).toBe(ada.links[0]);
    expect([ada.links[0]?.facts.role, bob.links[0]?.facts.role]).toEqual(['client', 'server']);
  });

  test.each(Array.from({ length: 16 }, (_, seed) => seed))(
    'makes exactly one link when both offer at once (seed %i)',
    async (seed) => {
      const fabric = new Fabric({ seed, signalingDelayMs: 120, signalingLoss: seed % 2 === 0 ? 0 : 0.2 });
      const [ada, bob] = [await fabric.node(2 * seed + 1), await fabric.node(2 * seed + 2)];
      ada.keeper.keep(bob.id);
      if (seed % 3 === 0) await fabric.pass(seed * 5);
      bob.keeper.keep(ada.id);
      // Where nothing is lost, the attempt that stands is the one that links: no deadline had to pass.
      await fabric.until(() => isLinked(ada, bob) && isLinked(bob, ada), seed % 2 === 0 ? 2000 : 30_000);
      await fabric.pass(30_000);
      expect(isLinked(ada, bob) && isLinked(bob, ada)).toBe(true);
      expect(fabric.rtc.openConnections).toBe(2);
      // Both hold the ends of one and the same link.
      const [near, far] = [ada.keeper.status(bob.id)?.link as Link, bob.keeper.status(ada.id)?.link as Link];
      expect(new Set([near.facts.role, far.facts.role]).size).toBe(2);
      const before = far.stats().bytesReceived;
      near.openStream('x', Buffer.alloc(1000));
      await fabric.pass(100);
      expect(far.stats().bytesReceived - before).toBeGreaterThan(1000);
    },
  );

  test.each(Array.from({ length: 12 }, (_, seed) => seed))(
    'links although signaling loses 30 of 100 envelopes (seed %i)',
    async (seed) => {
      const fabric = new Fabric({ seed, signalingLoss: 0.3, signalingDelayMs: 40 });
      const [ada, bob] = [await fabric.node(1), await fabric.node(2)];
      ada.keeper.keep(bob.id);
      bob.keeper.listen(ada.id);
      await fabric.until(() => isLinked(ada, bob) && isLinked(bob, ada), 15_000);
      expect(ada.connectionsMade).toBe(1); // said again, not begun again
    },
  );

  test('takes candidates that overtake the offer that they belong to', async () => {
    const fabric = new Fabric();
    const overtaking = (message: Message): Message[] => {
      if (message.kind !== 'link.offer') return [message];
      const offer = decodeAttemptMessage('link.offer', message.body) as DescriptionMessage;
      const { attempt, candidates } = offer;
      const more = encodeAttemptMessage({ kind: 'link.more', attempt, candidates, segments: [] });
      const rest = encodeAttemptMessage({ kind: 'link.offer', ...offer, candidates: [] });
      return [
        { ...message, kind: 'link.more', body: more },
        { ...message, body: rest },
      ];
    };
    const [ada, bob] = [await fabric.node(1), await fabric.node(2, overtaking)];
    bob.keeper.listen(ada.id);
    ada.keeper.keep(bob.id);
    await fabric.until(() => isLinked(ada, bob) && isLinked(bob, ada));
    expect(bob.candidatesTaken).toBe(1);
  });

  test('tells the peer of candidates that turn up when the link is there, such as those of a relay that is back', async () => {
    const { fabric, ada, bob } = await linkedPair();
    const candidate = { candidate: 'candidate:1 1 udp 1 192.0.2.7 7 typ relay', sdpMid: '0' };
    for (const [from, to] of [
      [ada, bob],
      [bob, ada],
    ] as const) {
      await fabric.pass(20_000);
      const before = to.candidatesTaken;
      from.connection?.onicecandidate?.(candidate);
      await fabric.until(() => to.candidatesTaken > before);
    }
    expect([ada.links.length, ada.connectionsMade, isLinked(ada, bob)]).toEqual([1, 1, true]);
  });

  test('keeps a link although nothing can be posted about later candidates', async () => {
    const { fabric, ada, bob } = await linkedPair();
    const taken = bob.candidatesTaken;
    await ada.router.close();
    ada.connection?.onicecandidate?.({ candidate: 'candidate:1 1 udp 1 192.0.2.7 7 typ relay', sdpMid: '0' });
    await fabric.pass(20_000);
    expect([isLinked(ada, bob), bob.candidatesTaken]).toEqual([true, taken]);
  });

  test('links soon although it began to keep a peer just after that peer had offered', async () => {
    const fabric = new Fabric();
    const [ada, bob] = [await fabric.node(1), await fabric.node(2)];
    const [small, large] = ada.id < bob.id ? [ada, bob] : [bob, ada];
    small.keeper.keep(large.id);
    await fabric.pass(100); // the offer came, and nobody was there for it
    large.keeper.keep(small.id);
    await fabric.until(() => isLinked(ada, bob) && isLinked(bob, ada), 1000);
  });

  test('does not take an offer that is said again for a new one', async () => {
    let offer: Message | undefined;
    const note = (message: Message) => {
      if (message.kind === 'link.offer') offer = message;
      return [message];
    };
    const fabric = new Fabric();
    const [ada, bob] = [await fabric.node(1), await fabric.node(2, note)];
    bob.keeper.listen(ada.id);
    ada.keeper.keep(bob.id);
    await fabric.until(() => isLinked(ada, bob) && isLinked(bob, ada));
    bob.keeper.receive(offer as Message);
    expect(bob.connectionsMade).toBe(1);
  });

  test('ends a link whose path is cut with LINK_LOST at both sides, and links again once it is mended', async () => {
    const { fabric, ada, bob } = await linkedPair();
    fabric.rtc.cut();
    await fabric.until(() => !isLinked(ada, bob) && !isLinked(bob, ada));
    expect(ada.keeper.status(bob.id)?.lastError).toMatchObject({ code: 'LINK_LOST' });
    expect(bob.keeper.status(ada.id)?.lastError).toMatchObject({ code: 'LINK_LOST' });
    await fabric.pass(20_000);
    fabric.rtc.mend();
    await fabric.until(() => isLinked(ada, bob) && isLinked(bob, ada));
    expect(ada.keeper.status(bob.id)).toMatchObject({ linksMade: 2, lastError: undefined });
  });

  test('tries ever more rarely while there is no path', async () => {
    const { fabric, ada, bob } = await linkedPair();
    fabric.rtc.cut();
    await fabric.pass(60_000);
    const early = ada.connectionsMade;
    expect(early).toBeGreaterThan(4);
    await fabric.pass(600_000);
    const late = ada.connectionsMade - early;
    expect(late).toBeGreaterThan(8); // both sides try, at most a minute apart each
    expect(late).toBeLessThan(60);
    expect(isLinked(bob, ada)).toBe(false);
  });

  test('lets the link of a peer that restarted take the place of the old one', async () => {
    const { fabric, ada, bob } = await linkedPair();
    await bob.router.close(); // it dies without a word, and its old link hangs on
    const again = await fabric.node(2);
    again.keeper.keep(ada.id);
    await fabric.until(() => isLinked(again, ada) && ada.links.length === 2);
    expect(await ada.links[0]?.ended).toMatchObject({ code: 'LINK_SUPERSEDED' });
    expect(ada.keeper.status(bob.id)?.link).toBe(ada.links[1]);
  });

  test('gives its offer up for that of a peer that restarted after it had answered', async () => {
    const fabric = new Fabric();
    const [low, high] = makeKey(1, fabric.clock).nodeId < makeKey(2, fabric.clock).nodeId ? [1, 2] : [2, 1];
    let answer: Message | undefined;
    const small = await fabric.node(low, (message) => {
      if (message.kind !== 'link.answer' || answer) return [message];
      answer = message; // arrives when the process that sent it is dead
      return [];
    });
    const large = await fabric.node(high);
    large.keeper.listen(small.id);
    small.keeper.keep(large.id);
    await fabric.until(() => answer !== undefined);
    await large.router.close(); // it dies without a word
    await fabric.settled(large.keeper.close());
    small.keeper.receive(answer as Message);
    await fabric.pass(100);
    expect(small.keeper.status(large.id)?.state).toBe('connecting');
    // What is left of the old attempt would tell it by a broken TLS record; that is lost here.
    const again = await fabric.node(high, (message) => (message.kind === 'link.more' ? [] : [message]));
    again.keeper.keep(small.id);
    await fabric.until(() => isLinked(again, small) && isLinked(small, again), 1000);
    expect(small.connectionsMade).toBe(2);
  });

  test('that releases a peer cuts it off at once, with LINK_UNPAIRED at the other side', async () => {
    const { fabric, ada, bob } = await linkedPair();
    const stream = ada.links[0]?.openStream('x');
    ada.keeper.release(bob.id, 'LINK_UNPAIRED', 'you were removed');
    expect(stream?.destroyed).toBe(true);
    expect(ada.keeper.status(bob.id)).toBeUndefined();
    await fabric.until(() => !isLinked(bob, ada));
    expect(bob.keeper.status(ada.id)).toMatchObject({
      state: 'waiting',
      lastError: { code: 'LINK_UNPAIRED', message: 'you were removed' },
    });
    const before = bob.connectionsMade;
    await fabric.pass(25_000);
    expect(bob.connectionsMade).toBe(before); // what a person did, it takes a person to mend
    await expect(ada.keeper.linkTo(bob.id)).rejects.toMatchObject({ code: 'LINK_NOT_CONNECTED' });
  });

  test('that closes says LINK_SHUTDOWN, and leaves nobody waiting', async () => {
    const { fabric, ada, bob } = await linkedPair();
    const carol = await fabric.node(3);
    ada.keeper.listen(carol.id);
    const waiting = ada.keeper.linkTo(carol.id);
    waiting.catch(() => {});
    const closing = Promise.all([ada.keeper.close(), ada.keeper.close()]);
    await fabric.settled(closing);
    await expect(fabric.settled(waiting, 1000)).rejects.toMatchObject({
      code: 'LINK_NOT_CONNECTED',
      cause: { code: 'LINK_SHUTDOWN' },
    });
    expect(await bob.links[0]?.ended).toMatchObject({ code: 'LINK_SHUTDOWN' });
    expect(fabric.rtc.openConnections).toBeLessThanOrEqual(1);
    ada.keeper.keep(bob.id); // too late, and harmless
    expect(ada.keeper.status(bob.id)).toBeUndefined();
  });

  test('asked for a link that does not come says when it gave up and why', async () => {
    const fabric = new Fabric();
    const ada = await fabric.node(1);
    const ghost = await fabric.node(2); // keeps nobody, so it answers nobody
    ada.keeper.listen(ghost.id);
    const asking = ada.keeper.linkTo(ghost.id, { timeoutMs: 16_000 });
    await expect(fabric.settled(asking)).rejects.toMatchObject({
      code: 'LINK_NOT_CONNECTED',
      message: expect.stringContaining('got as far as: described'),
      cause: { code: 'LINK_HANDSHAKE_TIMEOUT' },
    });
  });

  test('asked for a link gives up when its caller does', async () => {
    const fabric = new Fabric();
    const ada = await fabric.node(1);
    const ghost = await fabric.node(2);
    ada.keeper.listen(ghost.id);
    const abort = new AbortController();
    const asking = ada.keeper.linkTo(ghost.id, { signal: abort.signal });
    abort.abort(new Error('enough'));
    await expect(asking).rejects.toThrow('enough');
    await expect(ada.keeper.linkTo(ghost.id, { signal: abort.signal })).rejects.toThrow('enough');
  });

  test('flooded with offers takes a few at once and then one a second', async () => {
    const fabric = new Fabric();
    const [ada, bob] = [await fabric.node(1), await fabric.node(2)];
    ada.keeper.listen(bob.id);
    const random = seededRandom(1);
    const offer = () => {
      const body = {
        attempt: random.bytes(16),
        sdp: 'v=0\r\n',
        candidates: [],
        flight: random.bytes(100),
        nonce: random.bytes(32),
      };
      ada.keeper.receive({
        from: bob.id,
        kind: 'link.offer',
        via: 'test',
        sequence: 1,
        body: encodeAttemptMessage({ kind: 'link.offer', ...body }),
      });
    };
    for (let count = 0; count < 1000; count += 1) offer();
    expect(ada.connectionsMade).toBe(8);
    for (let second = 0; second < 10; second += 1) {
      await fabric.clock.advance(1000);
      for (let count = 0; count < 100; count += 1) offer();
    }
    expect(ada.connectionsMade).toBeLessThan(24); // ten more of these, and its own attempts
  });

  test('ignores malformed messages and those of strangers', async () => {
    const fabric = new Fabric();
    const [ada, bob, carol] = [await fabric.node(1), await fabric.node(2), await fabric.node(3)];
    ada.keeper.listen(bob.id);
    const message = { via: 'test', sequence: 1, body: Buffer.from('rubbish') };
    for (const from of [bob.id, carol.id]) {
      for (const kind of ['link.offer', 'link.answer', 'link.more', 'link.refuse', 'link.nothing', 'pair.request']) {
        expect(() => ada.keeper.receive({ ...message, from, kind })).not.toThrow();
      }
    }
    expect(ada.connectionsMade).toBe(0);
  });
});
