/** Ten minutes without a message, with every peer at the same time: consent and keep-alives, and the channels work after. */

import { describe, expect, it } from 'vitest';
import { digest, makeMessage, type Recipe } from './agent.ts';
import { connect, directions } from './cell.ts';
import { nameOf, RELIABILITIES } from './cells/channels.ts';
import { chromium, claw, nodeDataChannel, werift, wrtc } from './kinds.ts';
import { isFull } from './matrix.ts';
import { Meeting } from './meeting.ts';
import type { PeerHost, PeerKind } from './peer.ts';

const IDLE_MS = Number(process.env['CLAW_IDLE_MS'] ?? 600_000);
const HELLO: Recipe = { kind: 'text', size: 100, seed: 1 };

describe.skipIf(!isFull)(`ten minutes idle${isFull ? '' : ' (skipped: only with CLAW_INTEROP=full)'}`, () => {
  // As many as vitest runs at a time.
  for (const kind of [claw, chromium, nodeDataChannel, wrtc, werift]) {
    const title = `with ${kind.name}${kind.missing ? ` (skipped: ${kind.missing})` : ''}`;
    it.skipIf(kind.missing !== undefined).concurrent(title, { timeout: IDLE_MS + 60_000 }, async () => {
      await using host = await kind.launch();
      await Promise.all([idle(kind, host, 'we'), idle(kind, host, 'they')]);
    });
  }
});

async function idle(kind: PeerKind, host: PeerHost, offerer: 'we' | 'they'): Promise<void> {
  await using meeting = await Meeting.arrange(kind, await host.newPeer(), { offerer, dtlsClient: 'answerer' });
  const { we, they } = meeting;
  const { connection } = we;
  await connect(meeting);
  const labels = RELIABILITIES.map(nameOf);
  for (const init of RELIABILITIES) await meeting.offerer.open(nameOf(init), init);
  for (const label of labels) await Promise.all([we.opened(label), they.opened(label)]);
  await we.reached('connected');
  const states: string[] = [];
  connection.addEventListener('connectionstatechange', () => states.push(connection.connectionState));
  await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
  expect(states).toEqual([]);
  for (const { from, to } of directions(meeting)) {
    for (const label of ['first', ...labels]) {
      await from.send(label, HELLO);
      expect(await to.take(label, 1), label).toEqual([digest(makeMessage(HELLO))]);
    }
  }
}
