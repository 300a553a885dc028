/** Runs the matrix with one kind of peer: each cell in the combinations of roles that the gate or the long mode asks for. */

import { seededRandom } from '@claw/testkit';
import { afterAll, beforeAll, describe, it } from 'vitest';
import type { Cell, CellName } from './cell.ts';
import { CELLS } from './cells/index.ts';
import { LossyPath } from './lossy-path.ts';
import { Meeting, type Roles } from './meeting.ts';
import type { PeerHost, PeerKind, RolesName } from './peer.ts';

/** `CLAW_INTEROP=full`: every cell in every combination, and what is slow. */
export const isFull = process.env['CLAW_INTEROP'] === 'full';
const CELL_TIMEOUT_MS = isFull ? 180_000 : 60_000;
const RACE_RETRIES = 3;
const SEED = Number(process.env['CLAW_SEED'] ?? 1);

const ROLES: Readonly<Record<RolesName, Roles>> = {
  'we offer, they begin DTLS': { offerer: 'we', dtlsClient: 'answerer' },
  'we offer, we begin DTLS': { offerer: 'we', dtlsClient: 'offerer' },
  'they offer, we begin DTLS': { offerer: 'they', dtlsClient: 'answerer' },
  'they offer, they begin DTLS': { offerer: 'they', dtlsClient: 'offerer' },
};

export function describeMatrix(kind: PeerKind, only?: readonly CellName[]): void {
  const title = `our stack and ${kind.name}${kind.missing ? ` (skipped: ${kind.missing})` : ''}`;
  const { due, excused } = plan(kind, only ?? (Object.keys(CELLS) as CellName[]));
  const options = kind.races === undefined ? {} : { retry: RACE_RETRIES };
  describe.skipIf(kind.missing !== undefined)(title, options, () => {
    let host: PeerHost;
    beforeAll(async () => {
      host = await kind.launch();
    });
    afterAll(() => host?.[Symbol.asyncDispose]());
    it.each(due)('$title', { timeout: CELL_TIMEOUT_MS }, ({ cell, roles }) => runCell(kind, host, cell, roles));
    it.for(excused)('$title', (_, { skip }) => skip());
  });
}

/** The cells to run, and those that this peer is excused from, by name and reason. */
function plan(kind: PeerKind, names: readonly CellName[]) {
  const due: { title: string; cell: Cell; roles: Roles }[] = [];
  const excused: { title: string }[] = [];
  for (const name of names) {
    const cell = CELLS[name];
    const reason = kind.exceptions[name];
    if (reason !== undefined) {
      excused.push({ title: `${name}: not with it, for ${reason}` });
      continue;
    }
    for (const [rolesName, roles] of Object.entries(ROLES) as [RolesName, Roles][]) {
      if (!isDue(cell, rolesName) || (kind.slow?.includes(name) && !isFull)) continue;
      const fixed = kind.fixedRoles?.[rolesName];
      if (fixed === undefined) due.push({ title: `${name}: ${rolesName}`, cell, roles });
      else excused.push({ title: `${name}: ${rolesName}: not with it, for ${fixed}` });
    }
  }
  return { due, excused };
}

function isDue({ gate }: Cell, roles: RolesName): boolean {
  // As offers and answers are by themselves: the answerer begins.
  const usual: Partial<Record<Cell['gate'], RolesName>> = {
    'we offer': 'we offer, they begin DTLS',
    'they offer': 'they offer, we begin DTLS',
  };
  return isFull || gate === 'all' || usual[gate] === roles;
}

async function runCell(kind: PeerKind, host: PeerHost, cell: Cell, roles: Roles): Promise<void> {
  const random = seededRandom(SEED);
  const path = cell.isLossy ? await LossyPath.open(() => random.fraction()) : undefined;
  try {
    const options = cell.options?.(kind) ?? {};
    const ours = { ...options.ours, ...(path ? { addresses: ['127.0.0.1'] } : {}) };
    await using meeting = await Meeting.arrange(kind, await host.newPeer(), roles, { ...options, ours, path });
    try {
      await cell.run(meeting);
    } catch (error) {
      throw new Error(await report(meeting, error), { cause: error });
    }
  } finally {
    await path?.[Symbol.asyncDispose]();
  }
}

/** What was wrong, and how both ends stood then. */
async function report(meeting: Meeting, error: unknown): Promise<string> {
  const states = [meeting.we, meeting.they].map((peer) => peer.states().catch((failed: unknown) => String(failed)));
  const [ours, theirs] = await Promise.all(states);
  const { failure } = meeting.we.connection;
  return [
    error instanceof Error ? error.message : String(error),
    `we: ${JSON.stringify(ours)}${failure ? ` ${failure.message}` : ''}`,
    `they: ${JSON.stringify(theirs)}`,
    ...meeting.errors.map((each) => `refused: ${String(each)}`),
  ].join('\n');
}
