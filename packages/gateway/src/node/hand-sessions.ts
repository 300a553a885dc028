/** Sessions of signaling by hand: each shows texts to one caller and takes texts from it. */

import { nodeError } from '../errors.ts';
import type { Node } from './node.ts';

type HandItem = { readonly session: string } | { readonly text: string };

export class HandSessions {
  readonly #node: Node;
  readonly #sessions = new Map<string, (text: string) => void>();
  #nextId = 1;

  constructor(node: Node) {
    this.#node = node;
  }

  /** Items until `signal` aborts. */
  async *open(signal: AbortSignal): AsyncGenerator<HandItem> {
    const session = String(this.#nextId++);
    const queue: HandItem[] = [{ session }];
    let wake = () => {};
    // A person carries a text once: what is only said again is not shown again.
    const shown = new Set<string>();
    const hand = this.#node.openHand((text) => {
      if (shown.has(text)) return;
      shown.add(text);
      queue.push({ text });
      wake();
    });
    this.#sessions.set(session, (text) => hand.accept(text));
    try {
      while (!signal.aborted) {
        yield* queue.splice(0);
        await new Promise<void>((resolve) => {
          wake = resolve;
          signal.addEventListener('abort', () => resolve(), { once: true });
          if (queue.length > 0 || signal.aborted) resolve();
        });
      }
    } finally {
      this.#sessions.delete(session);
      await hand.close();
    }
  }

  /** @throws ClawError `HAND_SESSION_UNKNOWN`, or `HAND_TEXT_INVALID` for a text that is no envelope. */
  accept(session: string, text: string): void {
    const accept = this.#sessions.get(session);
    if (!accept) throw nodeError('HAND_SESSION_UNKNOWN', `there is no session "${session}" of signaling by hand`);
    accept(text);
  }
}
