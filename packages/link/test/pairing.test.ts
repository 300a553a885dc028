import { silentLogger } from '@claw/base';
import type { NodeId } from '@claw/contracts';
import { type PeerRecord, PeerStore } from '@claw/identity';
import { openRouter, type Router } from '@claw/signaling';
import { MemoryNetwork, seededRandom, temporaryDirectory, VirtualClock } from '@claw/testkit';
import { afterEach, describe, expect, test } from 'vitest';
import { InviteBook } from '../src/pairing/invite-book.ts';
import { Pairing, type PairingOptions } from '../src/pairing/pairing.ts';
import { makeKey } from './link-nodes.ts';

const RELAY = 'wss://relay.example/claw';

/** Kinds of message to lose, each so many times. */
type Losses = Partial<Record<string, number>>;

class World {
  readonly clock = new VirtualClock();
  readonly losses: Losses = {};
  readonly said: string[] = [];
  readonly #directories: Disposable[] = [];
  readonly #nodes: TestNode[] = [];
  readonly network = new MemoryNetwork();

  async node(seed: number, name: string, home?: string): Promise<TestNode> {
    const directory = temporaryDirectory();
    this.#directories.push(directory);
    const node = await TestNode.open(this, seed, name, home ?? directory.path);
    this.#nodes.push(node);
    return node;
  }

  /** Lets time pass, slowly enough for what is done between two files, until `condition` holds. */
  async until(condition: () => boolean, limitMs = 70_000): Promise<void> {
    const endMs = this.clock.monotonicMs() + limitMs;
    while (!condition()) {
      if (this.clock.monotonicMs() > endMs) throw new Error(`it did not happen within ${limitMs} ms of virtual time`);
      for (let turn = 0; turn < 8; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      await this.clock.advance(0.5);
    }
  }

  async settled<T>(promise: Promise<T>): Promise<T> {
    let done = false;
    const note = () => {
      done = true;
    };
    promise.then(note, note);
    await this.until(() => done);
    return promise;
  }

  async close(): Promise<void> {
    for (const node of this.#nodes) await node.router.close();
    for (const directory of this.#directories) directory[Symbol.dispose]();
  }
}

class TestNode {
  readonly id: NodeId;
  readonly home: string;
  readonly peers: PeerStore;
  readonly router: Router;
  readonly pairing: Pairing;
  readonly paired: PeerRecord[] = [];
  readonly removed: [peer: NodeId, byPeer: boolean][] = [];

  private constructor(
    id: NodeId,
    home: string,
    peers: PeerStore,
    router: Router,
    options: Omit<PairingOptions, 'onPaired' | 'onRemoved'>,
  ) {
    this.id = id;
    this.home = home;
    this.peers = peers;
    this.router = router;
    this.pairing = new Pairing({
      ...options,
      onPaired: (peer) => void this.paired.push(peer),
      onRemoved: (peer, byPeer) => void this.removed.push([peer, byPeer]),
    });
  }

  static async open(world: World, seed: number, name: string, home: string): Promise<TestNode> {
    const { clock } = world;
    const keyHolder = makeKey(seed, clock);
    const sealingKey = await keyHolder.issueSealingKey();
    const random = seededRandom(seed + Math.floor(clock.monotonicMs()));
    const [peers, invites] = await Promise.all([
      PeerStore.open(home),
      InviteBook.open(home, clock, (detail) => {
        throw new Error(detail);
      }),
    ]);
    const router = openRouter({
      keyHolder,
      sealingKey,
      authorize: (from, kind) => Pairing.admits(kind, peers.get(from)),
      onMessage: (message) => node.pairing.receive(message),
      clock,
      random,
    });
    router.addCarrier((onEnvelope) => world.network.open({ nodeId: keyHolder.nodeId, onEnvelope }));
    const post: PairingOptions['post'] = async (to, kind, body, lifetimeMs) => {
      world.said.push(kind);
      const left = world.losses[kind] ?? 0;
      if (left > 0) {
        world.losses[kind] = left - 1;
        return { sequence: 0, expiresAtMs: 0, carriers: 0, resend: () => 0 };
      }
      return router.post(to, kind, body, { lifetimeMs });
    };
    const node = new TestNode(keyHolder.nodeId, home, peers, router, {
      keyHolder,
      sealingKey: sealingKey.publicKey,
      peers,
      invites,
      self: () => ({ name, relays: [RELAY] }),
      post,
      clock,
      random,
      logger: silentLogger,
    });
    return node;
  }
}

const worlds: World[] = [];

afterEach(async () => {
  for (const world of worlds.splice(0)) await world.close();
});

async function open(): Promise<{ world: World; desk: TestNode; lap: TestNode }> {
  const world = new World();
  worlds.push(world);
  return { world, desk: await world.node(1, 'desk'), lap: await world.node(2, 'lap') };
}

async function pair(world: World, inviter: TestNode, joiner: TestNode): Promise<string> {
  const { text } = await inviter.pairing.invite();
  await world.settled(joiner.pairing.join(text));
  return text;
}

describe('pairing', () => {
  test('records on both sides the same words, and the names, keys, relays and grants', async () => {
    const { world, desk, lap } = await open();
    const { text } = await desk.pairing.invite();
    const record = await world.settled(lap.pairing.join(text));
    const [mine, theirs] = [lap.peers.get(desk.id), desk.peers.get(lap.id)];
    expect(mine).toEqual(record);
    expect(mine).toMatchObject({ name: 'desk', relays: [RELAY], grants: ['send'], state: 'paired', confirmed: true });
    expect(theirs).toMatchObject({ name: 'lap', relays: [RELAY], grants: ['send'], state: 'paired', confirmed: false });
    expect(mine?.words).toMatch(/^\w+ \w+ \w+ \w+$/);
    expect(theirs?.words).toBe(mine?.words);
    expect(desk.paired.at(-1)).toEqual(theirs);
    expect((await PeerStore.open(desk.home)).get(lap.id)).toEqual(theirs);
    expect((await PeerStore.open(lap.home)).get(desk.id)).toEqual(mine);
    await world.until(() => world.clock.pendingTimers === 0, 100);
  });

  test('uses the names that each side chose for the other, made unique and valid', async () => {
    const { world, desk, lap } = await open();
    const { text } = await desk.pairing.invite({ name: 'travel' });
    await world.settled(lap.pairing.join(text, { name: 'home' }));
    expect(lap.peers.get(desk.id)?.name).toBe('home');
    expect(desk.peers.get(lap.id)?.name).toBe('travel');
    const third = await world.node(3, 'third');
    const { text: again } = await desk.pairing.invite({ name: 'travel' });
    await world.settled(third.pairing.join(again, { name: 'not a valid name' }));
    expect(desk.peers.get(third.id)?.name).toBe('travel-2');
    expect(third.peers.get(desk.id)?.name).toMatch(/^peer-/);
  });

  test('prepares the way before it says anything', async () => {
    const { world, desk, lap } = await open();
    const { text } = await desk.pairing.invite();
    let saidBefore = -1;
    const prepare = (invite: { relays: readonly string[] }) => {
      expect(invite.relays).toEqual([RELAY]);
      saidBefore = world.said.length;
    };
    await world.settled(lap.pairing.join(text, { prepare }));
    expect(saidBefore).toBe(0);
  });

  test.each<[string, Losses]>([
    ['the request', { 'pair.request': 2 }],
    ['the acceptance', { 'pair.accept': 3 }],
    ['both', { 'pair.request': 1, 'pair.accept': 2 }],
  ])('succeeds although %s is lost', async (_, losses) => {
    const { world, desk, lap } = await open();
    Object.assign(world.losses, losses);
    await pair(world, desk, lap);
    expect(desk.peers.get(lap.id)?.words).toBe(lap.peers.get(desk.id)?.words);
    expect(Object.values(world.losses)).toEqual(Object.values(losses).map(() => 0));
  });

  test('that broke off after the inviter had recorded is completed by the same joiner, over a restart of both', async () => {
    const { world, desk, lap } = await open();
    world.losses['pair.accept'] = 1000;
    const { text } = await desk.pairing.invite();
    const crash = new AbortController();
    const joining = lap.pairing.join(text, { signal: crash.signal });
    joining.catch(() => {});
    await world.until(() => desk.peers.get(lap.id) !== undefined);
    crash.abort(new Error('the joiner died'));
    await expect(joining).rejects.toThrow('the joiner died');
    expect(desk.peers.get(lap.id)?.state).toBe('paired');
    expect(lap.peers.get(desk.id)).toBeUndefined();
    world.losses['pair.accept'] = 0;
    await desk.router.close();
    await lap.router.close();
    const [deskAgain, lapAgain] = [await world.node(1, 'desk', desk.home), await world.node(2, 'lap', lap.home)];
    await world.settled(lapAgain.pairing.join(text));
    expect(lapAgain.peers.get(desk.id)?.words).toBe(deskAgain.peers.get(lap.id)?.words);
    expect(deskAgain.peers.list()).toHaveLength(1);
  });

  test('again keeps the name and the grants that were given', async () => {
    const { world, desk, lap } = await open();
    await pair(world, desk, lap);
    await desk.peers.update(lap.id, { name: 'renamed', grants: [] });
    await lap.peers.update(desk.id, { name: 'other', grants: [] });
    await pair(world, desk, lap);
    expect(desk.peers.get(lap.id)).toMatchObject({ name: 'renamed', grants: [] });
    expect(lap.peers.get(desk.id)).toMatchObject({ name: 'other', grants: [] });
  });

  test('lets exactly one of two joiners win that race for one invite', async () => {
    const { world, desk, lap } = await open();
    const rival = await world.node(3, 'rival');
    const { text } = await desk.pairing.invite();
    const outcomes = await world.settled(Promise.allSettled([lap.pairing.join(text), rival.pairing.join(text)]));
    expect(outcomes.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    const lost = outcomes.find(({ status }) => status === 'rejected') as PromiseRejectedResult;
    expect(lost.reason).toMatchObject({ code: 'PAIR_INVITE_USED' });
    expect(desk.peers.list()).toHaveLength(1);
    expect(lap.peers.list().length + rival.peers.list().length).toBe(1);
  });

  test('gives up when its caller does', async () => {
    const { world, desk, lap } = await open();
    world.losses['pair.request'] = 1000;
    const { text } = await desk.pairing.invite();
    const abort = new AbortController();
    const joining = lap.pairing.join(text, { signal: abort.signal });
    joining.catch(() => {});
    await world.until(() => world.said.length > 3);
    abort.abort(new Error('enough'));
    await expect(joining).rejects.toThrow('enough');
    await world.until(() => world.clock.pendingTimers === 0);
  });
});

describe('an invite', () => {
  test.each<[string, string, (text: string, world: World, desk: TestNode) => Promise<string> | string]>([
    ['that is no invite', 'PAIR_INVITE_INVALID', () => 'hello'],
    ['that was cut', 'PAIR_INVITE_ALTERED', (text) => text.slice(0, -8)],
    ['that was altered', 'PAIR_INVITE_ALTERED', (text) => text.replace(/.(.)$/, (_, last) => `A${last}`)],
    ['that has expired', 'PAIR_INVITE_EXPIRED', async (text, world) => (await world.clock.advance(600_000), text)],
  ])('%s is refused with %s before anything is said', async (_, code, change) => {
    const { world, desk, lap } = await open();
    const { text } = await desk.pairing.invite();
    const changed = await change(text, world, desk);
    await expect(lap.pairing.join(changed)).rejects.toMatchObject({ code });
    expect(world.said).toEqual([]);
  });

  test('of this very node is refused', async () => {
    const { desk } = await open();
    const { text } = await desk.pairing.invite();
    await expect(desk.pairing.join(text)).rejects.toMatchObject({ code: 'PAIR_INVITE_OWN' });
  });

  test('that another machine used is refused', async () => {
    const { world, desk, lap } = await open();
    const text = await pair(world, desk, lap);
    const late = await world.node(3, 'late');
    await expect(world.settled(late.pairing.join(text))).rejects.toMatchObject({ code: 'PAIR_INVITE_USED' });
    expect(desk.peers.get(late.id)).toBeUndefined();
    expect(late.peers.list()).toEqual([]);
  });

  test('that the inviter no longer knows is refused', async () => {
    const { world, desk, lap } = await open();
    const { text } = await desk.pairing.invite();
    await desk.router.close();
    const fresh = await world.node(1, 'desk'); // the same key, a new home
    await expect(world.settled(lap.pairing.join(text))).rejects.toMatchObject({ code: 'PAIR_INVITE_UNKNOWN' });
    expect(fresh.peers.list()).toEqual([]);
  });

  test('that expires at the inviter while it is joined is refused', async () => {
    const { world, desk, lap } = await open();
    const { text } = await desk.pairing.invite();
    world.losses['pair.request'] = 1;
    await world.clock.advance(599_900); // it is said again when 400 ms have passed
    await expect(world.settled(lap.pairing.join(text, { timeoutMs: 20_000 }))).rejects.toMatchObject({
      code: 'PAIR_INVITE_EXPIRED',
    });
    expect(desk.peers.list()).toEqual([]);
  });

  test('whose machine is silent runs into the timeout and stays good', async () => {
    const { world, desk, lap } = await open();
    const { text } = await desk.pairing.invite();
    world.losses['pair.request'] = 1000;
    await expect(world.settled(lap.pairing.join(text, { timeoutMs: 2000 }))).rejects.toMatchObject({
      code: 'PAIR_TIMEOUT',
    });
    world.losses['pair.request'] = 0;
    await expect(world.settled(lap.pairing.join(text))).resolves.toMatchObject({ state: 'paired' });
  });
});

describe('removing a peer', () => {
  test('cuts it here, tells it, and it cuts too', async () => {
    const { world, desk, lap } = await open();
    await pair(world, desk, lap);
    await world.settled(desk.pairing.remove(desk.peers.get(lap.id) as PeerRecord));
    expect(desk.removed).toEqual([[lap.id, false]]);
    expect(desk.peers.list()).toEqual([]);
    await world.until(() => lap.peers.get(desk.id)?.state === 'removed-by-peer');
    expect(lap.removed).toEqual([[desk.id, true]]);
  });

  test('holds although the peer cannot be told', async () => {
    const { world, desk, lap } = await open();
    await pair(world, desk, lap);
    await desk.router.close(); // so that posting fails
    await desk.pairing.remove(desk.peers.get(lap.id) as PeerRecord);
    expect((await PeerStore.open(desk.home)).get(lap.id)?.state).toBe('removed');
  });

  test('that was offline tells it when it calls, and not more often than every 30 s', async () => {
    const { world, desk, lap } = await open();
    await pair(world, desk, lap);
    world.losses['pair.removed'] = 1;
    await world.settled(desk.pairing.remove(desk.peers.get(lap.id) as PeerRecord));
    await world.clock.advance(100);
    expect(lap.peers.get(desk.id)?.state).toBe('paired');
    const call = async () => {
      const { sealingKey } = lap.peers.get(desk.id) as PeerRecord;
      await lap.router.post(
        { to: desk.id, sealingKey: Buffer.from(sealingKey, 'base64') },
        'link.offer',
        Buffer.from('a call'),
      );
      await world.clock.advance(10);
    };
    await call();
    await world.until(() => lap.peers.get(desk.id)?.state === 'removed-by-peer');
    const count = () => world.said.filter((kind) => kind === 'pair.removed').length;
    const before = count();
    for (let times = 0; times < 5; times += 1) await call();
    expect(count()).toBe(before);
    await world.clock.advance(30_000);
    await call();
    await world.until(() => count() === before + 1, 100);
  });

  test('does not let it in again with the invite that it used', async () => {
    const { world, desk, lap } = await open();
    const text = await pair(world, desk, lap);
    await world.settled(desk.pairing.remove(desk.peers.get(lap.id) as PeerRecord));
    await expect(world.settled(lap.pairing.join(text))).rejects.toMatchObject({ code: 'PAIR_INVITE_UNKNOWN' });
    expect(desk.peers.list()).toEqual([]);
    await pair(world, desk, lap); // a new invite does
    expect(desk.peers.get(lap.id)?.state).toBe('paired');
  });

  test('is not done at the word of a stranger', async () => {
    const { world, desk, lap } = await open();
    await pair(world, desk, lap);
    desk.pairing.receive({
      from: makeKey(9, world.clock).nodeId,
      kind: 'pair.removed',
      body: Buffer.alloc(0),
      via: 'test',
      sequence: 1,
    });
    await world.clock.advance(10);
    expect(desk.peers.get(lap.id)?.state).toBe('paired');
    expect(desk.removed).toEqual([]);
  });
});

test('pairing messages that nobody asked for or that are malformed change nothing', async () => {
  const { world, desk, lap } = await open();
  const { text } = await desk.pairing.invite();
  for (const kind of ['pair.request', 'pair.accept', 'pair.refuse', 'pair.removed', 'pair.other']) {
    for (const body of [Buffer.alloc(0), Buffer.from('rubbish'), Buffer.alloc(5000)]) {
      desk.pairing.receive({ from: lap.id, kind, body, via: 'test', sequence: 1 });
    }
  }
  await world.clock.advance(10);
  expect([desk.peers.list(), desk.paired, desk.removed]).toEqual([[], [], []]);
  await expect(world.settled(lap.pairing.join(text))).resolves.toMatchObject({ state: 'paired' });
});
