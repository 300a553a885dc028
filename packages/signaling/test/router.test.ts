import type { Carrier, EnvelopeHandler } from '@claw/contracts';
import { MemoryNetwork, until, VirtualClock } from '@claw/testkit';
import { describe, expect, it, onTestFinished } from 'vitest';
import { MAX_BODY_BYTES, MAX_LIFETIME_MS, sealEnvelope } from '../src/envelope.ts';
import { type Message, openRouter, type RouterOptions } from '../src/index.ts';
import { createNode, makeContent, type TestNode } from './support.ts';

const alice = await createNode();
const bob = await createNode();

function openTestRouter(node: TestNode, changes: Partial<RouterOptions> = {}) {
  const messages: Message[] = [];
  const clock = new VirtualClock();
  const router = openRouter({
    keyHolder: node.keyHolder,
    sealingKey: node.sealingKey,
    onMessage: (message) => messages.push(message),
    authorize: () => true,
    clock,
    ...changes,
  });
  onTestFinished(() => router.close());
  return { router, messages, clock };
}

/** A carrier that a test drives by hand, and whose handed-out envelopes it sees. */
function createProbe(name = 'probe', maxEnvelopeBytes = 100_000) {
  const sent: Uint8Array[] = [];
  let deliver: EnvelopeHandler = () => {};
  let closes = 0;
  const close = async () => {
    closes += 1;
  };
  const open = (onEnvelope: EnvelopeHandler): Carrier => {
    deliver = onEnvelope;
    return {
      name,
      maxEnvelopeBytes,
      send: (_to, envelope) => sent.push(envelope),
      status: () => ({
        name,
        state: 'up',
        detail: '',
        envelopesSent: 0,
        envelopesReceived: 0,
        bytesSent: 0,
        bytesReceived: 0,
      }),
      close,
      [Symbol.asyncDispose]: close,
    };
  };
  return { open, sent, deliver: (bytes: Uint8Array) => deliver(bytes), closes: () => closes };
}

const seal = (changes = {}, from = alice, to = bob) => sealEnvelope(from.keyHolder, to.recipient, makeContent(changes));

describe('router', () => {
  it('router delivers a message once when two carriers bring it, by the name of the first', async () => {
    const [fast, slow] = [new MemoryNetwork(), new MemoryNetwork()];
    const a = openTestRouter(alice);
    const b = openTestRouter(bob);
    for (const [router, node] of [
      [a.router, alice],
      [b.router, bob],
    ] as const) {
      router.addCarrier((onEnvelope) => fast.open({ name: 'fast', nodeId: node.nodeId, onEnvelope }));
      router.addCarrier((onEnvelope) => slow.open({ name: 'slow', nodeId: node.nodeId, onEnvelope }));
    }
    const posted = await a.router.post(bob.recipient, 'offer', Buffer.from('hi'));
    await until(() => b.router.stats().duplicates === 1, 'the second copy');
    expect(b.messages).toEqual([
      { from: alice.nodeId, kind: 'offer', body: expect.anything(), via: 'fast', sequence: posted.sequence },
    ]);
    expect(Buffer.from(b.messages[0]?.body ?? []).toString()).toBe('hi');
    expect(posted.carriers).toBe(2);
    expect(b.router.stats()).toMatchObject({ delivered: 1, duplicates: 1 });
  });

  it('router delivers within the call in which the carrier brings the envelope', async () => {
    const { router, messages } = openTestRouter(bob);
    const probe = createProbe();
    router.addCarrier(probe.open);
    const envelope = await seal();
    probe.deliver(envelope);
    expect(messages).toHaveLength(1);
  });

  it('router hands out the same bytes again when resent, until they expire', async () => {
    const { router, clock } = openTestRouter(alice);
    const probe = createProbe();
    router.addCarrier(probe.open);
    const posted = await router.post(bob.recipient, 'offer', Buffer.from('hi'), { lifetimeMs: 1000 });
    await clock.advance(1000);
    expect(posted.resend()).toBe(1);
    expect(probe.sent).toHaveLength(2);
    expect(probe.sent[1]).toBe(probe.sent[0]);
    await clock.advance(1);
    expect(posted.resend()).toBe(0);
    expect(router.stats()).toMatchObject({ posted: 1, resent: 1 });
  });

  it('router counts each reason when it drops an envelope, and delivers none of them', async () => {
    const { router, messages } = openTestRouter(bob);
    const probe = createProbe();
    router.addCarrier(probe.open);
    const altered = await seal();
    altered[100] = (altered[100] as number) ^ 1;
    const sameSequence = [await seal({ sequence: 9 }), await seal({ sequence: 9 })];
    const now = new VirtualClock().now();
    const bad = [
      Buffer.from('garbage'),
      Buffer.alloc(20_000, 1),
      altered,
      await seal({}, alice, alice),
      await seal({ expiresAtMs: now - 200_000 }),
      await seal({ expiresAtMs: now + MAX_LIFETIME_MS + 200_000 }),
      ...sameSequence,
    ];
    for (const bytes of bad) probe.deliver(bytes);
    expect(messages).toHaveLength(1);
    expect(router.stats().rejected).toEqual({
      ENVELOPE_MALFORMED: 1,
      ENVELOPE_TOO_LARGE: 1,
      ENVELOPE_UNSEALABLE: 1,
      ENVELOPE_NOT_FOR_US: 1,
      ENVELOPE_EXPIRED: 1,
      ENVELOPE_FROM_FUTURE: 1,
      ENVELOPE_REPLAYED: 1,
      ENVELOPE_FORGED: 0,
      ENVELOPE_FLOOD: 0,
    });
  });

  it('router delivers what a stranger may send, refuses the rest, and takes it once its sender is authorized', async () => {
    let paired = false;
    const { router, messages } = openTestRouter(bob, { authorize: (_from, kind) => paired || kind === 'pair' });
    const probe = createProbe();
    router.addCarrier(probe.open);
    const offer = await seal({ kind: 'offer', sequence: 1 });
    probe.deliver(offer);
    probe.deliver(await seal({ kind: 'pair', sequence: 2 }));
    expect(messages.map((message) => message.kind)).toEqual(['pair']);
    expect(router.stats().refused).toBe(1);
    paired = true;
    probe.deliver(offer);
    expect(messages.map((message) => message.kind)).toEqual(['pair', 'offer']);
  });

  it('router opens no more than the share of a carrier when it floods, and still serves another carrier', async () => {
    const { router, messages, clock } = openTestRouter(bob, { maxOpensPerSecond: 40 });
    const [flood, quiet] = [createProbe('flood'), createProbe('quiet')];
    router.addCarrier(flood.open);
    router.addCarrier(quiet.open);
    const envelopes = await Promise.all(Array.from({ length: 30 }, (_, sequence) => seal({ sequence })));
    for (const envelope of envelopes) flood.deliver(envelope);
    expect(messages).toHaveLength(10);
    expect(router.stats().overloaded).toBe(20);
    quiet.deliver(envelopes[29] as Buffer);
    expect(messages).toHaveLength(11);
    await clock.advance(1000);
    flood.deliver(envelopes[20] as Buffer);
    expect(messages).toHaveLength(12);
  });

  it('router survives when onMessage, authorize or a carrier throws', async () => {
    const { router, messages } = openTestRouter(bob, {
      authorize: (_from, kind) => {
        if (kind === 'bad') throw new Error('authorize');
        return true;
      },
      onMessage: (message) => {
        if (message.kind === 'boom') throw new Error('onMessage');
        messages.push(message);
      },
    });
    const [broken, probe] = [createProbe('broken'), createProbe('probe')];
    router.addCarrier((onEnvelope) => ({
      ...broken.open(onEnvelope),
      send: () => {
        throw new Error('contract broken');
      },
    }));
    router.addCarrier(probe.open);
    probe.deliver(await seal({ kind: 'boom', sequence: 1 }));
    probe.deliver(await seal({ kind: 'bad', sequence: 2 }));
    probe.deliver(await seal({ kind: 'good', sequence: 3 }));
    expect(messages.map((message) => message.kind)).toEqual(['good']);
    expect((await router.post(alice.recipient, 'offer', Buffer.alloc(0))).carriers).toBe(1);
    expect(probe.sent).toHaveLength(1);
  });

  it('router skips carriers whose maximum is below the length of the envelope', async () => {
    const { router } = openTestRouter(alice);
    const [narrow, wide] = [createProbe('narrow', 1000), createProbe('wide')];
    router.addCarrier(narrow.open);
    router.addCarrier(wide.open);
    await router.post(bob.recipient, 'offer', Buffer.alloc(1000));
    expect([narrow.sent.length, wide.sent.length]).toEqual([0, 1]);
  });

  it('router refuses to post when body, key or lifetime are out of range', async () => {
    const { router } = openTestRouter(alice);
    const post = (body: Buffer, lifetimeMs = 1000, recipient = bob.recipient) =>
      router.post(recipient, 'offer', body, { lifetimeMs });
    await expect(post(Buffer.alloc(MAX_BODY_BYTES + 1))).rejects.toMatchObject({ code: 'ENVELOPE_TOO_LARGE' });
    const noKey = { ...bob.recipient, sealingKey: Buffer.alloc(32) };
    await expect(post(Buffer.alloc(1), 1000, noKey)).rejects.toMatchObject({ code: 'SEALING_KEY_INVALID' });
    for (const lifetimeMs of [0, -1, Number.NaN, MAX_LIFETIME_MS + 1]) {
      await expect(post(Buffer.alloc(1), lifetimeMs)).rejects.toThrow(RangeError);
    }
  });

  it('router refuses a second carrier of the same name, and closes it', async () => {
    const { router } = openTestRouter(alice);
    const [first, second] = [createProbe('same'), createProbe('same')];
    router.addCarrier(first.open);
    expect(() => router.addCarrier(second.open)).toThrow(TypeError);
    expect([first.closes(), second.closes()]).toEqual([0, 1]);
    expect(router.carriers().map((carrier) => carrier.name)).toEqual(['same']);
  });

  it('router closes a carrier when it is removed, and hears nothing of it any more', async () => {
    const { router, messages } = openTestRouter(bob);
    const probe = createProbe();
    router.addCarrier(probe.open);
    await router.removeCarrier('probe');
    await router.removeCarrier('probe');
    expect(probe.closes()).toBe(1);
    expect(router.carriers()).toEqual([]);
    probe.deliver(await seal());
    expect(messages).toEqual([]);
  });

  it('router closes every carrier once, posts and delivers nothing afterwards', async () => {
    const { router, messages } = openTestRouter(bob);
    const probe = createProbe();
    router.addCarrier(probe.open);
    const posted = await router.post(alice.recipient, 'offer', Buffer.alloc(1));
    await Promise.all([router.close(), router.close()]);
    probe.deliver(await seal());
    expect([probe.closes(), messages.length, posted.resend()]).toEqual([1, 0, 0]);
    await expect(router.post(alice.recipient, 'offer', Buffer.alloc(1))).rejects.toMatchObject({
      code: 'ROUTER_CLOSED',
    });
    expect(() => router.addCarrier(createProbe().open)).toThrow(/closed/);
  });
});
