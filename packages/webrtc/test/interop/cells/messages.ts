/** Cells of messages: sizes, limits, volume, loss. */

import { expect } from 'vitest';
import { type ChannelInit, digest, makeMessage, type Recipe } from '../agent.ts';
import { type Cell, type CellName, connect, directions } from '../cell.ts';
import type { Meeting } from '../meeting.ts';
import { nameOf, RELIABILITIES } from './channels.ts';

const MIB = 1024 * 1024;
const SIZES = [0, 1, 2, 3, 1199, 1200, 1201, 16_383, 16_384, 16_385, 65_535, 65_536, 262_144];
const GREAT_SIZES = [MIB, 16 * MIB];
const BULK_MESSAGES = 256;
const LOSS = 0.05;
const LOSSY_MESSAGES = 40;

async function sendSizes(meeting: Meeting, sizes: readonly number[]): Promise<void> {
  const least = meeting.kind.sendsNoEmpty === undefined ? 0 : 1;
  for (const { from, to, name } of directions(meeting)) {
    const recipes = sizes
      .filter((size) => (name === 'we' ? size <= (meeting.we.connection.sctp?.maxMessageSize ?? 0) : size >= least))
      .flatMap((size, seed): Recipe[] => [
        { kind: 'text', size, seed },
        { kind: 'bytes', size, seed },
      ]);
    for (const recipe of recipes) {
      await from.send('first', recipe);
      expect(await to.take('first', 1), `${name} send ${recipe.kind}`).toEqual([digest(makeMessage(recipe))]);
    }
  }
}

/** What is reliable arrives once; of the rest nothing twice, nothing broken, and in order where that is due. */
async function lose(meeting: Meeting, reliabilities: readonly ChannelInit[]): Promise<void> {
  const { we, they, path } = meeting;
  const inits = reliabilities.map((init, at) => ({ ...init, negotiated: true, id: 2 * at }));
  const labels = inits.map(nameOf);
  const [ordered = '', unordered = '', ...partial] = labels;
  for (const peer of [we, they]) for (const init of inits) await peer.open(nameOf(init), init);
  await meeting.negotiate();
  for (const label of labels) await Promise.all([we.opened(label), they.opened(label)]);
  if (path) path.loss = LOSS;
  // Of two fragments, so that one may be lost without the other.
  const recipes = Array.from({ length: LOSSY_MESSAGES }, (_, seed): Recipe => ({ kind: 'bytes', size: 2000, seed }));
  const digests = recipes.map((recipe) => digest(makeMessage(recipe)));
  for (const { from, to } of directions(meeting)) {
    await Promise.all(labels.map((label) => from.send(label, ...recipes)));
    // When these are all here, the others have had their chance.
    expect(await to.take(ordered, LOSSY_MESSAGES)).toEqual(digests);
    expect((await to.take(unordered, LOSSY_MESSAGES)).toSorted()).toEqual(digests.toSorted());
  }
  if (path) path.loss = 0;
  expect(path?.lost).toBeGreaterThan(0);
  const last: Recipe = { kind: 'text', size: 100, seed: 0 };
  for (const { from, to } of directions(meeting)) {
    for (const label of partial) {
      await from.send(label, last);
      const got: string[] = [];
      while (!got.includes(digest(makeMessage(last)))) got.push(...(await to.take(label, 1)));
      got.push(...(await to.takeAll(label)));
      const places = got.filter((each) => each.startsWith('bytes')).map((each) => digests.indexOf(each));
      expect(places).toEqual([...new Set(places)].filter((at) => at >= 0));
      if (!label.startsWith('un')) expect(places).toEqual(places.toSorted((a, b) => a - b));
    }
  }
}

async function sendEverySize(meeting: Meeting): Promise<void> {
  await connect(meeting);
  expect(meeting.we.connection.sctp?.maxMessageSize).toBe(meeting.kind.takesBytes);
  await sendSizes(meeting, SIZES);
}

async function sendGreat(meeting: Meeting): Promise<void> {
  await connect(meeting);
  await sendSizes(meeting, GREAT_SIZES);
}

async function sendGreatest(meeting: Meeting): Promise<void> {
  const { we, they } = meeting;
  await connect(meeting);
  const limit = await we.maxMessageBytes();
  expect(limit).toBe(Number(/a=max-message-size:(\d+)/.exec(we.connection.remoteDescription?.sdp ?? '')?.[1]));
  expect(await we.refusal('first', limit + 1)).toBe('TypeError');
  expect((await we.states()).channels['first']).toBe('open');
  const greatest: Recipe = { kind: 'bytes', size: limit, seed: 1 };
  await we.send('first', greatest);
  expect(await they.take('first', 1)).toEqual([digest(makeMessage(greatest))]);
  if (!meeting.kind.ignoresOurLimit) expect(await they.refusal('first', 100_001)).toBeDefined();
  const ours: Recipe = { kind: 'bytes', size: 100_000, seed: 2 };
  await they.send('first', ours);
  expect(await we.take('first', 1)).toEqual([digest(makeMessage(ours))]);
}

async function sendBulk(meeting: Meeting): Promise<void> {
  await connect(meeting);
  const recipes = Array.from({ length: BULK_MESSAGES }, (_, seed): Recipe => ({ kind: 'bytes', size: 65_536, seed }));
  const digests = recipes.map((recipe) => digest(makeMessage(recipe)));
  await Promise.all(
    directions(meeting).map(async ({ from, to }) => {
      const [, got] = await Promise.all([from.send('first', ...recipes), to.take('first', recipes.length)]);
      expect(got).toEqual(digests);
    }),
  );
}

export const messageCells = {
  'messages of every size': {
    gate: 'we offer',
    run: sendEverySize,
  },
  '16 MiB messages': {
    gate: 'we offer',
    options: (kind) => ({ ours: { maxMessageBytes: 16 * MIB }, theirs: kind.greatConfig ?? {} }),
    run: sendGreat,
  },
  'greatest message': {
    gate: 'they offer',
    options: () => ({ ours: { maxMessageBytes: 100_000 } }),
    run: sendGreatest,
  },
  'bulk both ways': {
    gate: 'none',
    run: sendBulk,
  },
  'loss, reliable': { gate: 'none', isLossy: true, run: (meeting) => lose(meeting, RELIABILITIES.slice(0, 2)) },
  'loss, every reliability': { gate: 'we offer', isLossy: true, run: (meeting) => lose(meeting, RELIABILITIES) },
} satisfies Partial<Record<CellName, Cell>>;
