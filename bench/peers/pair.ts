/** A pair of processes with one contestant between them; this process is the offerer. */

import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { openBare } from './bare.ts';
import { type Endpoint, sharedNowMs } from './endpoint.ts';
import { addressOf, type LinkHost, openLink, openLinkHost, type PeerAddress } from './link.ts';
import { openOwn } from './own.ts';
import { ChildPipe } from './protocol.ts';

/** Our link; node-datachannel as it is; our own WebRTC stack as it is. */
export type Contestant = 'link' | 'bare' | 'own';

export interface Connected {
  readonly endpoint: Endpoint;
  /** From connect() until this side could send. */
  readonly readyMs: number;
  /** From connect() until the other side had the first application byte. */
  readonly firstByteMs: number;
}

const SETUP_TIMEOUT_MS = 5000;
const MAX_FAILURES = 20;

export class Pair implements AsyncDisposable {
  readonly contestant: Contestant;
  readonly pipe: ChildPipe;
  readonly #child: ChildProcess;
  readonly #line: ChildProcess | undefined;
  readonly #mappings = new Map<number, Promise<number>>();
  readonly #ports = new Map<number, (mapped: number) => void>();
  #nextPort = 0;
  #host: LinkHost | undefined;
  #peer: PeerAddress | undefined;

  private constructor(contestant: Contestant, oneWayMs: number) {
    this.contestant = contestant;
    this.#child = fork(fileURLToPath(new URL('./child.ts', import.meta.url)), {
      execArgv: [...process.execArgv, '--expose-gc'],
    });
    if (oneWayMs > 0) {
      this.#line = fork(fileURLToPath(new URL('./delay-line.ts', import.meta.url)), [String(oneWayMs)]);
      this.#line.on('message', ({ id, mapped }: { id: number; mapped: number }) => this.#ports.get(id)?.(mapped));
    }
    this.pipe = new ChildPipe(this.#child, oneWayMs, (port) => this.#mapPort(port));
  }

  /** @param oneWayMs delay of every packet and of every signal, each way */
  static async open(contestant: Contestant, oneWayMs = 0): Promise<Pair> {
    const pair = new Pair(contestant, oneWayMs);
    if (contestant === 'link') {
      pair.#host = await openLinkHost();
      pair.#peer = await pair.pipe.order<PeerAddress>({ order: 'host' });
    }
    return pair;
  }

  /** Process id of the other side. */
  get peerPid(): number {
    return this.#child.pid ?? 0;
  }

  /** Set-ups that came to nothing: libdatachannel's do now and then. */
  failures = 0;

  /** Connects and sends one byte; begins anew when that leads nowhere. */
  async connect(): Promise<Connected> {
    for (; this.failures < MAX_FAILURES; this.failures += 1) {
      const connected = await this.#tryConnect();
      if (connected) return connected;
    }
    throw new Error(`${this.contestant} did not connect ${MAX_FAILURES} times`);
  }

  async #tryConnect(): Promise<Connected | undefined> {
    const delayed = this.#line !== undefined;
    await this.pipe.order({
      order: 'open',
      contestant: this.contestant,
      delayed,
      ...(this.#host && { peer: addressOf(this.#host) }),
    });
    const first = this.pipe.order<number>({ order: 'first-message' });
    const options = {
      role: 'offerer',
      pipe: this.pipe.signaling(),
      ...(delayed && { mapPort: (port: number) => this.#mapPort(port) }),
    } as const;
    const started = sharedNowMs();
    const bare = this.contestant === 'own' ? openOwn : openBare;
    const endpoint = this.#host && this.#peer ? openLink(this.#host, this.#peer, options) : bare(options);
    const connected = (async () => {
      await endpoint.ready;
      const readyMs = sharedNowMs() - started;
      void endpoint.send(Buffer.from([1]));
      return { endpoint, readyMs, firstByteMs: (await first) - started };
    })();
    let timer: NodeJS.Timeout | undefined;
    const givenUp = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), SETUP_TIMEOUT_MS);
    });
    const result = await Promise.race([connected, givenUp]);
    clearTimeout(timer);
    if (!result) await Promise.all([endpoint.close(), this.pipe.order({ order: 'close' })]);
    return result;
  }

  async disconnect({ endpoint }: Connected): Promise<void> {
    await Promise.all([endpoint.close(), this.pipe.order({ order: 'close' })]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.race([this.pipe.order({ order: 'end' }), new Promise((resolve) => setTimeout(resolve, 2000))]);
    await this.#host?.close();
    this.#child.disconnect();
    this.#line?.disconnect();
  }

  /** The port of the delay line for `port`; candidates of several addresses share one. */
  #mapPort(port: number): Promise<number> {
    const known = this.#mappings.get(port);
    if (known) return known;
    const id = this.#nextPort++;
    const asked = new Promise<number>((resolve) => {
      this.#ports.set(id, resolve);
      this.#line?.send({ id, port });
    });
    this.#mappings.set(port, asked);
    return asked;
  }
}
