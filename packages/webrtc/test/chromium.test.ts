import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type RTCDataChannel, RTCPeerConnection } from '../src/index.ts';

const CHROMIUM = ['chromium', 'chromium-browser', 'google-chrome'].find(
  (name) => spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0,
);
const SIZES = [0, 1, 1200, 16_384, 262_144];
const CHANNELS = [
  { label: 'reliable', init: {} },
  { label: 'unordered', init: { ordered: false } },
  { label: 'retransmits', init: { ordered: false, maxRetransmits: 5 } },
  { label: 'lifetime', init: { maxPacketLifeTime: 2000 } },
  { label: 'negotiated', init: { negotiated: true, id: 1000 } },
];

describe.skipIf(!CHROMIUM)(`our stack and Chromium${CHROMIUM ? '' : ' (skipped: there is no chromium)'}`, () => {
  it.each([
    ['we offer', 'answerer'],
    ['it offers', 'offerer'],
  ])(
    'meet when %s: channels of every kind, text and bytes of every size, both ways, then a close',
    { timeout: 40_000 },
    async (_, role) => {
      const page = await Page.open(role);
      // Also when the test runs out of time, and nobody comes to the end of its block.
      onTestFinished(() => page[Symbol.asyncDispose]());
      const connection = new RTCPeerConnection();
      const failed = new Promise<never>((_resolve, reject) => {
        connection.onconnectionstatechange = () => {
          if (connection.connectionState === 'failed') reject(connection.failure ?? new Error('failed'));
        };
      });
      connection.onicecandidate = ({ candidate }) => page.send({ candidate: candidate?.toJSON() ?? null });
      const channels = new Map<string, RTCDataChannel>();
      const all = Promise.withResolvers<void>();
      const add = (channel: RTCDataChannel) => {
        channels.set(channel.label, channel);
        if (channels.size === CHANNELS.length) all.resolve();
      };
      connection.ondatachannel = ({ channel }) => add(channel);
      const weOpen = role === 'answerer';
      for (const { label, init } of CHANNELS) {
        if (weOpen || 'negotiated' in init) add(connection.createDataChannel(label, init));
      }
      page.onMessage(async (message) => {
        if (message.description) {
          await connection.setRemoteDescription(message.description);
          if (message.description.type === 'offer') {
            await connection.setLocalDescription();
            page.send({ description: connection.localDescription });
          }
        } else await connection.addIceCandidate(message.candidate);
      });
      if (weOpen) {
        await connection.setLocalDescription();
        page.send({ description: connection.localDescription });
      }
      try {
        await Promise.race([all.promise, failed]);
        for (const channel of channels.values()) {
          if (channel.readyState !== 'open') await Promise.race([once(channel as never, 'open'), failed]);
          for (const size of SIZES) {
            for (const data of ['x'.repeat(size), Buffer.alloc(size, 7)]) {
              // The page sends back what it gets.
              const back = once(channel as never, 'message') as Promise<[MessageEvent]>;
              channel.send(data);
              const [{ data: got }] = await Promise.race([back, failed]);
              if (typeof data === 'string') expect(got).toBe(data);
              else expect(Buffer.compare(Buffer.from(got as ArrayBuffer), data)).toBe(0);
            }
          }
        }
        const closed = once(channels.get('unordered') as never, 'close');
        page.send({ close: 'unordered' });
        await Promise.race([closed, failed]);
        expect(channels.get('reliable')?.readyState).toBe('open');
      } finally {
        connection.close();
      }
    },
  );
});

interface Message {
  readonly description?: { type: string; sdp: string };
  readonly candidate?: { candidate: string; sdpMid: string } | null;
}

/** A page in Chromium that signals by polling this process. */
class Page implements AsyncDisposable {
  readonly #browser: ChildProcess;
  readonly #folder: string;
  readonly #stop: () => Promise<void>;
  readonly #outbox: unknown[];
  #waiting: (() => void) | undefined;
  #handler: (message: Message) => void = () => {};

  static async open(role: string): Promise<Page> {
    const folder = await mkdtemp(join(tmpdir(), 'claw-chromium-'));
    const outbox: unknown[] = [];
    const server = createServer((request, response) => void page.serve(request, response));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'];
    const quiet = ['--disable-background-networking', '--disable-component-update', '--disable-sync'];
    const browser = spawn(
      CHROMIUM as string,
      [...flags, ...quiet, `--user-data-dir=${folder}`, `http://127.0.0.1:${port}/?${role}`],
      { stdio: 'ignore', detached: true },
    );
    const page = new Page(browser, folder, outbox, async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    });
    return page;
  }

  private constructor(browser: ChildProcess, folder: string, outbox: unknown[], stop: () => Promise<void>) {
    this.#browser = browser;
    this.#folder = folder;
    this.#outbox = outbox;
    this.#stop = stop;
  }

  send(message: unknown): void {
    this.#outbox.push(message);
    this.#waiting?.();
  }

  onMessage(handler: (message: Message) => Promise<void>): void {
    let last = Promise.resolve();
    this.#handler = (message) => {
      last = last.then(() => handler(message));
    };
  }

  async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method === 'POST') {
      let body = '';
      for await (const chunk of request) body += String(chunk);
      this.#handler(JSON.parse(body) as Message);
      response.end();
    } else if (request.url === '/next') {
      if (this.#outbox.length === 0) {
        await new Promise<void>((resolve) => {
          this.#waiting = resolve;
        });
      }
      response.end(JSON.stringify(this.#outbox.splice(0)));
    } else {
      response.setHeader('content-type', 'text/html');
      response.end(`<script type="module">${SCRIPT}</script>`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Its own group: Chromium's children end with it.
    const ended = once(this.#browser, 'exit');
    if (this.#browser.pid) process.kill(-this.#browser.pid, 'SIGKILL');
    await ended;
    await this.#stop();
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}

const SCRIPT = `
const CHANNELS = ${JSON.stringify(CHANNELS)};
const offers = location.search === '?offerer';
const post = (message) => fetch('/', { method: 'POST', body: JSON.stringify(message) });
const connection = new RTCPeerConnection();
const channels = {};
const use = (channel) => {
  channels[channel.label] = channel;
  channel.binaryType = 'arraybuffer';
  channel.onmessage = ({ data }) => channel.send(data);
};
connection.ondatachannel = ({ channel }) => use(channel);
connection.onicecandidate = ({ candidate }) => candidate && post({ candidate });
for (const { label, init } of CHANNELS) if (offers || init.negotiated) use(connection.createDataChannel(label, init));
if (offers) {
  await connection.setLocalDescription();
  post({ description: connection.localDescription });
}
for (;;) {
  for (const message of await (await fetch('/next')).json()) {
    if (message.close) channels[message.close].close();
    else if (message.description) {
      await connection.setRemoteDescription(message.description);
      if (message.description.type === 'offer') {
        await connection.setLocalDescription();
        await post({ description: connection.localDescription });
      }
    } else if (message.candidate) await connection.addIceCandidate(message.candidate);
  }
}
`;
