/**
 * A Chromium that shows names in place of its addresses, as it does for every page without a camera: it is found by
 * asking the local network. It hears of no address of ours, so that it cannot come first.
 */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { digest, makeMessage, type Recipe } from './agent.ts';
import { chromium } from './kinds.ts';
import type { PeerHost } from './peer.ts';
import { launchChromium } from './peers/chromium.ts';
import { ourPeer } from './peers/ours.ts';

const NAME = / [\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[\da-f]{4}-[\da-f]{12}\.local /;
const MESSAGE: Recipe = { kind: 'bytes', size: 5000, seed: 3 };
const { missing } = chromium;

/** Without candidates. */
const bare = ({ type, sdp }: { readonly type: string; readonly sdp: string }) => ({
  type,
  sdp: sdp.replaceAll(/a=(?:candidate:|end-of-candidates).*\r\n/g, ''),
});

describe.skipIf(missing !== undefined)(
  `a Chromium that shows only names${missing ? ` (skipped: ${missing})` : ''}`,
  () => {
    let host: PeerHost;
    beforeAll(async () => {
      host = await launchChromium();
    });
    afterAll(() => host?.[Symbol.asyncDispose]());

    it.each(['we', 'they'] as const)('is found by mDNS when %s offer', async (offering) => {
      await using we = ourPeer();
      await using they = await host.newPeer();
      await we.start({});
      await they.start({});
      const lines: string[] = [];
      let heard: Promise<void> = Promise.resolve();
      const held: (() => Promise<void>)[] = [];
      let isDescribed = false;
      they.onSignal = (signal) => {
        if (!('candidate' in signal)) return;
        const { candidate } = signal;
        lines.push(candidate?.candidate ?? '');
        const tell = () => we.candidate(candidate);
        if (isDescribed) heard = heard.then(tell);
        else held.push(tell);
      };
      const [offerer, answerer] = offering === 'we' ? [we, they] : [they, we];
      await offerer.open('first');
      await answerer.accept(bare(await offerer.describe('offer')));
      await offerer.accept(bare(await answerer.describe('answer')));
      isDescribed = true;
      for (const tell of held) await tell();
      await Promise.all([we.opened('first'), they.opened('first')]);
      await heard;
      const shown = lines.filter((line) => line.includes(' typ host'));
      expect(shown.length).toBeGreaterThan(0);
      for (const line of shown) expect(line).toMatch(NAME);
      for (const [from, to] of [
        [we, they],
        [they, we],
      ] as const) {
        await from.send('first', MESSAGE);
        expect(await to.take('first', 1)).toEqual([digest(makeMessage(MESSAGE))]);
      }
    });
  },
);
