/** Peers in Chromium: one browser, one page, an agent for each connection. */

import { readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import type { Signal } from '../agent.ts';
import { type PeerHost, remotePeer } from '../peer.ts';
import { Browser } from './browser.ts';

const MODULES = ['../agent.ts', 'w3c-engine.ts'];

export async function launchChromium(flags: readonly string[] = []): Promise<PeerHost & { readonly browser: Browser }> {
  const browser = await Browser.launch(flags);
  const listeners = new Map<number, (signal: Signal) => void>();
  let lastKey = 0;
  const page = await browser.newPage();
  page.onEvent((method, params) => {
    if (method !== 'Runtime.bindingCalled') return;
    const { key, signal } = JSON.parse(String(params['payload'])) as { key: number; signal: Signal };
    listeners.get(key)?.(signal);
  });
  await page.send('Runtime.enable');
  await page.send('Runtime.addBinding', { name: 'tell' });
  await page.evaluate(`Promise.all([${MODULES.map(importOf).join()}]).then(([{ createAgent }, { createW3cEngine }]) => {
    const engine = createW3cEngine(RTCPeerConnection);
    globalThis.agents = {};
    globalThis.addAgent = (key) => {
      agents[key] = createAgent(engine, (signal) => tell(JSON.stringify({ key, signal })));
    };
  })`);
  return {
    browser,
    async newPeer() {
      lastKey += 1;
      const key = lastKey;
      await page.evaluate(`addAgent(${key})`);
      const peer = remotePeer(
        'chromium',
        (method, args) => page.evaluate(`agents[${key}].${method}(...${JSON.stringify(args)})`),
        async () => {
          listeners.delete(key);
          await page.evaluate(`agents[${key}].closeConnection(); delete agents[${key}]`);
        },
      );
      listeners.set(key, (signal) => peer.onSignal(signal));
      return peer;
    },
    [Symbol.asyncDispose]: () => browser[Symbol.asyncDispose](),
  };
}

/** An expression that imports one of our files without its types. */
function importOf(file: string): string {
  const source = stripTypeScriptTypes(readFileSync(new URL(file, import.meta.url), 'utf8'));
  return `import('data:text/javascript;base64,${Buffer.from(source).toString('base64')}')`;
}
