/** Virtual time for the tests of this package: events in order of their time, then of their making. */

/** What an end needs of time. */
export interface VirtualTime {
  readonly nowMs: number;
  at(atMs: number, fire: () => void): void;
}

export class Simulation implements VirtualTime {
  nowMs = 0;
  readonly #heap: Event[] = [];
  #made = 0;

  at(atMs: number, fire: () => void): void {
    const event = { atMs: Math.max(atMs, this.nowMs), order: this.#made++, fire };
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parentAt = (at - 1) >> 1;
      const parent = heap[parentAt]!;
      if (!isBefore(event, parent)) break;
      heap[at] = parent;
      at = parentAt;
    }
    heap[at] = event;
  }

  /** Runs events until `untilMs`, or until `isDone` holds; then stands at the time reached. */
  run(untilMs: number, isDone: () => boolean = () => false): void {
    while (!isDone()) {
      const event = this.#heap[0];
      if (!event || event.atMs > untilMs) {
        this.nowMs = untilMs;
        return;
      }
      this.#pop();
      this.nowMs = event.atMs;
      event.fire();
    }
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    const { length } = heap;
    if (length === 0) return;
    let at = 0;
    for (;;) {
      let childAt = 2 * at + 1;
      if (childAt >= length) break;
      if (childAt + 1 < length && isBefore(heap[childAt + 1]!, heap[childAt]!)) childAt++;
      if (!isBefore(heap[childAt]!, last)) break;
      heap[at] = heap[childAt]!;
      at = childAt;
    }
    heap[at] = last;
  }
}

interface Event {
  readonly atMs: number;
  readonly order: number;
  readonly fire: () => void;
}

function isBefore(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
