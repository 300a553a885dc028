/** Cells of channels: in band and negotiated, of every reliability, many. */

import { expect } from 'vitest';
import { type ChannelFacts, type ChannelInit, digest, makeMessage, type Recipe } from '../agent.ts';
import { type Cell, type CellName, connect, directions } from '../cell.ts';
import type { Meeting } from '../meeting.ts';

export const RELIABILITIES: readonly ChannelInit[] = [
  {},
  { ordered: false },
  { maxRetransmits: 3 },
  { ordered: false, maxRetransmits: 0 },
  { maxPacketLifeTime: 3000 },
  { ordered: false, maxPacketLifeTime: 3000 },
];
const MANY = 1000;
const FIRST_ID = 20;

export const nameOf = ({ ordered = true, maxRetransmits, maxPacketLifeTime }: ChannelInit) =>
  `${ordered ? 'ordered' : 'unordered'} ${maxRetransmits ?? '-'} ${maxPacketLifeTime ?? '-'}`;

const EXCHANGED: readonly Recipe[] = [
  { kind: 'text', size: 500, seed: 1 },
  { kind: 'bytes', size: 5000, seed: 2 },
];

/** Text and bytes both ways on one channel. Without loss even channels that may lose lose nothing. */
async function exchange(meeting: Meeting, label: string): Promise<void> {
  for (const { from, to } of directions(meeting)) {
    for (const recipe of EXCHANGED) {
      await from.send(label, recipe);
      expect(await to.take(label, 1), label).toEqual([digest(makeMessage(recipe))]);
    }
  }
}

/** What the W3C says that a channel of these settings shows. */
function factsFor(label: string, init: ChannelInit): Omit<ChannelFacts, 'id' | 'state'> {
  const { ordered = true, maxRetransmits = null, maxPacketLifeTime = null, protocol = '', negotiated = false } = init;
  return { label, ordered, maxRetransmits, maxPacketLifeTime, protocol, negotiated };
}

async function many(meeting: Meeting, prefixes: readonly ('a' | 'b')[], count: number): Promise<void> {
  const { we, they } = meeting;
  for (const prefix of prefixes) {
    await Promise.all([we.openedMany(prefix, count), they.openedMany(prefix, count)]);
    for (const { from, to } of directions(meeting)) {
      await from.sendEach(prefix, count, 100);
      expect(await to.takeEach(prefix, count, 100)).toBe(count);
    }
  }
}

async function openInBand(meeting: Meeting): Promise<void> {
  const { we, they, kind } = meeting;
  await connect(meeting);
  for (const { from, to, name } of directions(meeting)) {
    for (const settings of RELIABILITIES) {
      const label = `${name}: ${nameOf(settings)}`;
      const init = { ...settings, protocol: 'p' };
      await from.open(label, init);
      const [ours, theirs] = await Promise.all([we.opened(label), they.opened(label)]);
      expect(ours).toMatchObject({ ...factsFor(label, init), ...(name === 'they' ? kind.opensAs?.(init) : {}) });
      expect(ours.id % 2).toBe((await isDtlsClient(meeting, name)) ? 0 : 1);
      expect(theirs.id).toBe(ours.id);
      if (to === they && !kind.hidesSettings) expect(theirs).toMatchObject(factsFor(label, init));
      await exchange(meeting, label);
    }
  }
}

async function openNegotiated(meeting: Meeting): Promise<void> {
  const { we, they } = meeting;
  const inits = RELIABILITIES.map((init, at) => ({ ...init, negotiated: true, id: FIRST_ID + at }));
  for (const peer of [we, they]) for (const init of inits) await peer.open(nameOf(init), init);
  await meeting.negotiate();
  for (const init of inits) {
    const label = nameOf(init);
    const [ours, theirs] = await Promise.all([we.opened(label), they.opened(label)]);
    expect(ours).toMatchObject({ ...factsFor(label, init), id: init.id });
    expect(theirs.id).toBe(init.id);
    if (!meeting.kind.hidesSettings) expect(theirs).toMatchObject(factsFor(label, init));
    await exchange(meeting, label);
  }
}

async function openLate(meeting: Meeting): Promise<void> {
  await connect(meeting);
  for (const { from, to, name } of directions(meeting)) {
    for (const init of [{}, { ordered: false }]) {
      const label = `late ${name} ${nameOf(init)}`;
      // Messages right behind the OPEN, before it is acknowledged: in order, whatever the channel is (RFC 8832 §6).
      await from.open(label, init);
      await from.opened(label);
      const recipes = Array.from({ length: 20 }, (_, seed): Recipe => ({ kind: 'text', size: 3000, seed }));
      await from.send(label, ...recipes);
      const got = await to.take(label, recipes.length);
      expect(got.toSorted()).toEqual(recipes.map((recipe) => digest(makeMessage(recipe))).toSorted());
    }
  }
}

async function openNamed(meeting: Meeting): Promise<void> {
  await connect(meeting);
  for (const { from, to, name } of directions(meeting)) {
    const names = [
      { label: `größe ${name} 😀`, protocol: 'próto' },
      { label: `${name} `.padEnd(1500, 'x'), protocol: '' },
      { label: `${name} ${'é'.repeat(32_000)}`, protocol: 'p'.repeat(65_535) },
    ];
    for (const { label, protocol } of names) {
      await from.open(label, { protocol });
      expect(await to.opened(label)).toMatchObject({ label, protocol });
    }
  }
}

async function openThousand(meeting: Meeting): Promise<void> {
  const { we, they } = meeting;
  const each = MANY / 2;
  // Half of them before there is a connection.
  await meeting.offerer.openMany('a', each);
  await meeting.negotiate();
  await Promise.all([we.openedMany('a', each), they.openedMany('a', each)]);
  await meeting.answerer.openMany('b', each);
  await many(meeting, ['a', 'b'], each);
  // One after the other: libwebrtc names all that close in one request, and a thousand are more than its DTLS takes.
  await we.closeMany('a', each);
  await Promise.all([we.closedMany('a', each), they.closedMany('a', each)]);
  await they.closeMany('b', each);
  await Promise.all([we.closedMany('b', each), they.closedMany('b', each)]);
  // Their ids are free again.
  await Promise.all([we.forgetMany('a', each), they.forgetMany('a', each)]);
  await we.openMany('a', each);
  await many(meeting, ['a'], each);
}

async function openThousandNegotiated(meeting: Meeting): Promise<void> {
  for (const peer of [meeting.we, meeting.they]) await peer.openMany('a', MANY, { negotiated: true, id: 0 });
  await meeting.negotiate();
  await many(meeting, ['a'], MANY);
}

export const channelCells = {
  'in-band channels': {
    gate: 'they offer',
    run: openInBand,
  },
  'negotiated channels': {
    gate: 'we offer',
    run: openNegotiated,
  },
  'late channels': {
    gate: 'none',
    run: openLate,
  },
  'names of channels': {
    gate: 'they offer',
    run: openNamed,
  },
  '1,000 channels': {
    gate: 'we offer',
    run: openThousand,
  },
  '1,000 negotiated channels': {
    gate: 'none',
    run: openThousandNegotiated,
  },
} satisfies Partial<Record<CellName, Cell>>;

/** Its channels have the even ids (RFC 8832 §6). */
async function isDtlsClient({ we, roles }: Meeting, who: 'we' | 'they'): Promise<boolean> {
  const { connection } = we;
  const answer = roles.offerer === 'we' ? connection.remoteDescription : connection.localDescription;
  const answererIsClient = answer?.sdp.includes('a=setup:active') ?? false;
  return (roles.offerer === who) !== answererIsClient;
}
