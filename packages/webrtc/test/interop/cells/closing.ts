/** Cells of the end: of a channel and of the connection, from either side. */

import { expect } from 'vitest';
import { digest, makeMessage, type Recipe } from '../agent.ts';
import { type Cell, type CellName, connect } from '../cell.ts';
import type { Meeting } from '../meeting.ts';

const BURST = 60;
const FIRST: Recipe = { kind: 'bytes', size: 20_000, seed: 1 };

/** The id is free afterwards, the other channel untouched. With a burst: all that was sent before the close arrives. */
async function closeChannel(meeting: Meeting, by: 'we' | 'they', burst = 0): Promise<void> {
  const { we, they } = meeting;
  const [from, to] = by === 'we' ? [we, they] : [they, we];
  await connect(meeting);
  for (let round = 0; round < 2; round += 1) {
    await from.open('brief');
    await Promise.all([from.opened('brief'), to.opened('brief')]);
    await from.sendAndClose('brief', FIRST, burst);
    await Promise.all([from.closed('brief'), to.closed('brief')]);
    const sent = Array.from({ length: burst }, (_, at) => digest(makeMessage({ ...FIRST, seed: 1 + at })));
    expect(await to.takeAll('brief')).toEqual(sent);
    for (const peer of [from, to]) {
      expect((await peer.states()).channels).toMatchObject({ first: 'open', brief: 'closed' });
      await peer.forget('brief');
    }
  }
  await from.send('first', FIRST);
  expect(await to.take('first', 1)).toEqual([digest(makeMessage(FIRST))]);
}

async function closeConnection(meeting: Meeting, by: 'we' | 'they'): Promise<void> {
  const { we, they } = meeting;
  const [from, to] = by === 'we' ? [we, they] : [they, we];
  await connect(meeting);
  await to.open('second');
  await from.opened('second');
  await from.closeConnection();
  await to.closed('first', 'second');
  expect((await to.states()).channels).toEqual({ first: 'closed', second: 'closed' });
  expect((await from.states()).connection).toBe('closed');
}

export const closingCells = {
  'channel closed by us': { gate: 'they offer', run: (meeting) => closeChannel(meeting, 'we') },
  'channel closed by them': { gate: 'we offer', run: (meeting) => closeChannel(meeting, 'they') },
  'messages before a close by us': { gate: 'they offer', run: (meeting) => closeChannel(meeting, 'we', BURST) },
  'messages before a close by them': { gate: 'we offer', run: (meeting) => closeChannel(meeting, 'they', BURST) },
  'connection closed by us': { gate: 'we offer', run: (meeting) => closeConnection(meeting, 'we') },
  'connection closed by them': { gate: 'they offer', run: (meeting) => closeConnection(meeting, 'they') },
} satisfies Partial<Record<CellName, Cell>>;
