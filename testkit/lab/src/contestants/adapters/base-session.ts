/** What all sessions share: messages wait for their handler, and the end is told once, with one reason. */

import type { PathFacts, Session } from '../contract.ts';

export abstract class BaseSession implements Session {
  #onMessage: ((message: Buffer) => void) | undefined;
  #early: Buffer[] = [];
  readonly #onClose: ((reason: string) => void)[] = [];
  #reason: string | undefined;

  abstract send(message: Buffer): Promise<void>;
  abstract path(): Promise<PathFacts>;
  abstract close(): Promise<void>;

  /** Why the session ended, once it did. */
  get endReason(): string | undefined {
    return this.#reason;
  }

  onMessage(handler: (message: Buffer) => void): void {
    this.#onMessage = handler;
    for (const message of this.#early.splice(0)) handler(message);
  }

  onClose(handler: (reason: string) => void): void {
    if (this.#reason === undefined) this.#onClose.push(handler);
    else handler(this.#reason);
  }

  protected deliver(message: Buffer): void {
    if (this.#onMessage) this.#onMessage(message);
    else this.#early.push(message);
  }

  protected end(reason: string): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    for (const handler of this.#onClose.splice(0)) handler(reason);
  }
}
