/** Names that the driver was asked for, and who waits for each. */

import { canonicalAddress } from '../address.ts';
import type { EgressGate } from './egress-gate.ts';

export type LookupAnswer = (addresses: readonly string[], nowMs: number) => void;

export interface NameLookupsOptions {
  readonly gate: EgressGate;
  /** At a time. */
  readonly maxLookups: number;
  readonly nextId: () => number;
}

export class NameLookups {
  readonly #options: NameLookupsOptions;
  readonly #waiting = new Map<number, LookupAnswer>();

  constructor(options: NameLookupsOptions) {
    this.#options = options;
  }

  get isBusy(): boolean {
    return this.#waiting.size > 0;
  }

  /** The answer comes at once, and is empty, when there are too many or the policy does not permit it. */
  ask(name: string, answer: LookupAnswer, nowMs: number): void {
    const { gate, maxLookups, nextId } = this.#options;
    const id = nextId();
    if (this.#waiting.size >= maxLookups) return answer([], nowMs);
    this.#waiting.set(id, answer);
    if (gate.request({ type: 'resolve', id, name })) return;
    this.#waiting.delete(id);
    answer([], nowMs);
  }

  /** What is no address is left out. */
  resolved(id: number, addresses: readonly string[], nowMs: number): void {
    const answer = this.#waiting.get(id);
    this.#waiting.delete(id);
    answer?.(
      addresses.flatMap((address) => canonicalAddress(address) ?? []),
      nowMs,
    );
  }
}
