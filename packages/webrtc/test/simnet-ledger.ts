/** What was sent and what arrived on one channel in one direction, and what is wrong with it. */

import { hash } from 'node:crypto';

export interface LedgerTraits {
  readonly isReliable: boolean;
  readonly isOrdered: boolean;
}

export class Ledger {
  readonly #name: string;
  readonly #traits: LedgerTraits;
  readonly #sent: string[] = [];
  readonly #received: string[] = [];

  constructor(name: string, traits: LedgerTraits) {
    this.#name = name;
    this.#traits = traits;
  }

  get sent(): number {
    return this.#sent.length;
  }

  get received(): number {
    return this.#received.length;
  }

  /** Nothing that must still arrive is missing. */
  get isComplete(): boolean {
    return !this.#traits.isReliable || this.received >= this.sent;
  }

  noteSent(data: string | Buffer): void {
    this.#sent.push(digest(data));
  }

  noteReceived(data: unknown): void {
    this.#received.push(digest(typeof data === 'string' ? data : Buffer.from(data as ArrayBuffer)));
  }

  /** What no failure of the connection excuses: messages that were never sent, came twice, or out of order. */
  breaches(): string[] {
    const { isReliable, isOrdered } = this.#traits;
    const breaches: string[] = [];
    const left = new Map<string, number>();
    for (const message of this.#sent) left.set(message, (left.get(message) ?? 0) + 1);
    for (const [at, message] of this.#received.entries()) {
      const count = left.get(message) ?? 0;
      left.set(message, count - 1);
      if (count === 0) {
        const what = this.#sent.includes(message) ? 'came once too often' : 'was never sent';
        breaches.push(`${this.#name}: message ${at} of ${this.received} (${message}) ${what}`);
      }
    }
    if (isOrdered && isReliable) {
      const at = this.#received.findIndex((message, index) => message !== this.#sent[index]);
      if (at >= 0) breaches.push(`${this.#name}: message ${at} of ${this.received} is not the one that is due`);
    } else if (isOrdered && !isSubsequence(this.#received, this.#sent)) {
      breaches.push(`${this.#name}: messages came out of order`);
    }
    return breaches;
  }

  /** How much of it is missing, for a message. */
  describe(): string {
    return `${this.#name}: ${this.received} of ${this.sent}`;
  }
}

function digest(data: string | Buffer): string {
  const kind = typeof data === 'string' ? 'text' : 'bytes';
  const bytes = Buffer.from(data as string);
  return `${kind} ${bytes.length} ${hash('sha1', bytes).slice(0, 16)}`;
}

function isSubsequence(part: readonly string[], whole: readonly string[]): boolean {
  let at = 0;
  for (const each of part) {
    at = whole.indexOf(each, at) + 1;
    if (at === 0) return false;
  }
  return true;
}
