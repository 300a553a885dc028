/** A headless Chromium by its DevTools protocol over a pipe: no port, no dependency. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';

type Params = Readonly<Record<string, unknown>>;
interface Message {
  readonly id?: number;
  readonly sessionId?: string;
  readonly method?: string;
  readonly params?: Params;
  readonly result?: Params;
  readonly error?: { readonly message: string };
}

const PROGRAMS = ['chromium', 'chromium-browser', 'google-chrome'];
// prettier-ignore
const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-background-timer-throttling',
  '--remote-debugging-pipe',
];

let found: { program: string; version: string } | undefined | null = null;

export function findChromium(): { program: string; version: string } | undefined {
  if (found === null) {
    found = undefined;
    for (const program of PROGRAMS) {
      const { status, stdout } = spawnSync(program, ['--version'], { encoding: 'utf8' });
      if (status !== 0) continue;
      found = { program, version: /[\d.]+/.exec(stdout)?.[0] ?? 'unknown' };
      break;
    }
  }
  return found;
}

export class Browser implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #folder: string;
  readonly #requests = new Map<number, PromiseWithResolvers<Params>>();
  readonly #listeners = new Map<string, (method: string, params: Params) => void>();
  #lastId = 0;
  #rest = '';

  static async launch(flags: readonly string[] = []): Promise<Browser> {
    const chromium = findChromium();
    if (!chromium) throw new Error('there is no chromium');
    const folder = await mkdtemp(join(tmpdir(), 'claw-chromium-'));
    // Its own group: Chromium's children end with it.
    const child = spawn(chromium.program, [...FLAGS, ...flags, `--user-data-dir=${folder}`, 'about:blank'], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
      detached: true,
    });
    return new Browser(child, folder);
  }

  private constructor(child: ChildProcess, folder: string) {
    this.#process = child;
    this.#folder = folder;
    const output = child.stdio[4] as Readable;
    output.setEncoding('utf8');
    output.on('data', (text: string) => this.#read(text));
    child.once('exit', () => {
      for (const request of this.#requests.values()) request.reject(new Error('Chromium ended'));
      this.#requests.clear();
    });
    // Its end is told by 'exit'.
    child.stdio[3]?.on('error', () => {});
  }

  /** Sends a command, to a page when there is a session. */
  send(method: string, params: Params = {}, sessionId?: string): Promise<Params> {
    this.#lastId += 1;
    const request = Promise.withResolvers<Params>();
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) {
      request.reject(new Error('Chromium is not running'));
      return request.promise;
    }
    this.#requests.set(this.#lastId, request);
    const message = { id: this.#lastId, method, params, ...(sessionId === undefined ? {} : { sessionId }) };
    (this.#process.stdio[3] as Writable).write(`${JSON.stringify(message)}\0`);
    return request.promise;
  }

  async newPage(url = 'about:blank'): Promise<Page> {
    const { targetId } = await this.send('Target.createTarget', { url });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    return new Page(this, String(sessionId), String(targetId));
  }

  /** @internal */
  listen(sessionId: string, listener: (method: string, params: Params) => void): void {
    this.#listeners.set(sessionId, listener);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode === null && this.#process.signalCode === null && this.#process.pid) {
      const ended = once(this.#process, 'exit');
      process.kill(-this.#process.pid, 'SIGKILL');
      await ended;
    }
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }

  #read(text: string): void {
    const parts = (this.#rest + text).split('\0');
    this.#rest = parts.pop() ?? '';
    for (const part of parts) this.#take(JSON.parse(part) as Message);
  }

  #take({ id, sessionId, method, params = {}, result, error }: Message): void {
    if (id === undefined) {
      if (sessionId !== undefined && method) this.#listeners.get(sessionId)?.(method, params);
      return;
    }
    const request = this.#requests.get(id);
    this.#requests.delete(id);
    if (error) request?.reject(new Error(error.message));
    else request?.resolve(result ?? {});
  }
}

export class Page {
  readonly #browser: Browser;
  readonly #sessionId: string;
  readonly #targetId: string;
  readonly #listeners = new Set<(method: string, params: Params) => void>();

  /** @internal See {@link Browser.newPage}. */
  constructor(browser: Browser, sessionId: string, targetId: string) {
    this.#browser = browser;
    this.#sessionId = sessionId;
    this.#targetId = targetId;
    browser.listen(sessionId, (method, params) => {
      for (const listener of this.#listeners) listener(method, params);
    });
  }

  send(method: string, params: Params = {}): Promise<Params> {
    return this.#browser.send(method, params, this.#sessionId);
  }

  onEvent(listener: (method: string, params: Params) => void): void {
    this.#listeners.add(listener);
  }

  /** The value of an expression, awaited, as JSON carries it. */
  async evaluate(expression: string): Promise<unknown> {
    const { result, exceptionDetails } = (await this.send('Runtime.evaluate', {
      expression,
      awaitPromise: true,
      returnByValue: true,
    })) as { result?: { value?: unknown }; exceptionDetails?: { exception?: { description?: string }; text: string } };
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result?.value;
  }

  async close(): Promise<void> {
    await this.#browser.send('Target.closeTarget', { targetId: this.#targetId });
  }
}
