/** A binary heap of events: earliest first, of equal times the one made first. */

export class SimEvent {
  readonly atMs: number;
  readonly order: number;
  /** Undefined once it ran or was cancelled. */
  run: (() => void) | undefined;

  constructor(atMs: number, order: number, run: () => void) {
    this.atMs = atMs;
    this.order = order;
    this.run = run;
  }
}

export class EventHeap {
  readonly #events: SimEvent[] = [];

  get size(): number {
    return this.#events.length;
  }

  peek(): SimEvent | undefined {
    return this.#events[0];
  }

  push(event: SimEvent): void {
    const events = this.#events;
    let at = events.length;
    events.push(event);
    while (at > 0) {
      const parentAt = (at - 1) >> 1;
      const parent = events[parentAt] as SimEvent;
      if (isBefore(parent, event)) break;
      events[at] = parent;
      at = parentAt;
    }
    events[at] = event;
  }

  pop(): SimEvent | undefined {
    const events = this.#events;
    const first = events[0];
    const last = events.pop();
    if (!first || !last || events.length === 0) return first;
    let at = 0;
    for (;;) {
      let childAt = 2 * at + 1;
      if (childAt >= events.length) break;
      let child = events[childAt] as SimEvent;
      const right = events[childAt + 1];
      if (right && isBefore(right, child)) {
        child = right;
        childAt += 1;
      }
      if (isBefore(last, child)) break;
      events[at] = child;
      at = childAt;
    }
    events[at] = last;
    return first;
  }

  /** Drops what was cancelled. */
  compact(): void {
    const live = this.#events.filter((event) => event.run !== undefined);
    this.#events.length = 0;
    for (const event of live) this.push(event);
  }
}

function isBefore(a: SimEvent, b: SimEvent): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
