/**
 * Joins fragments into messages: neighbours by number (TSN for DATA, FSN for
 * I-DATA) become runs, and a run with a beginning and an end is a message. Every
 * fragment costs O(1), in whatever order they come.
 */

class Fragment {
  readonly data: Buffer;
  next: Fragment | undefined = undefined;

  constructor(data: Buffer) {
    this.data = data;
  }
}

export class FragmentRun {
  start: number;
  end: number;
  bytes: number;
  ppid = 0;
  hasBegin = false;
  hasEnd = false;
  /** What all fragments of a message share; see {@link FragmentRuns.add}. */
  readonly owner: number;
  readonly #head: Fragment;
  #tail: Fragment;

  constructor(number: number, owner: number, data: Buffer) {
    this.start = number;
    this.end = number;
    this.owner = owner;
    this.bytes = data.length;
    this.#head = new Fragment(data);
    this.#tail = this.#head;
  }

  /** Takes over the run that follows. */
  absorb(later: FragmentRun): void {
    this.#tail.next = later.#head;
    this.#tail = later.#tail;
    this.end = later.end;
    this.bytes += later.bytes;
    this.hasEnd = later.hasEnd;
  }

  append(data: Buffer, isEnd: boolean): void {
    const fragment = new Fragment(data);
    this.#tail.next = fragment;
    this.#tail = fragment;
    this.end = (this.end + 1) | 0;
    this.bytes += data.length;
    this.hasEnd = isEnd;
  }

  /** The message, as one buffer. */
  join(): Buffer {
    if (this.#head === this.#tail) return this.#head.data;
    const joined = Buffer.allocUnsafeSlow(this.bytes);
    let at = 0;
    for (let fragment: Fragment | undefined = this.#head; fragment; fragment = fragment.next) {
      joined.set(fragment.data, at);
      at += fragment.data.length;
    }
    return joined;
  }
}

export class FragmentRuns {
  /** Keyed by numbers as signed 32-bit integers, which engines hash without boxing. */
  readonly #byStart = new Map<number, FragmentRun>();
  readonly #byEnd = new Map<number, FragmentRun>();

  get size(): number {
    return this.#byStart.size;
  }

  /** Bytes held. */
  get bytes(): number {
    let sum = 0;
    for (const run of this.#byStart.values()) sum += run.bytes;
    return sum;
  }

  /**
   * Adds a fragment that was not added before; returns the run it belongs to now.
   * Neighbours of another `owner` are not joined.
   */
  add(number: number, owner: number, isBegin: boolean, isEnd: boolean, ppid: number, data: Buffer): FragmentRun {
    const key = number | 0;
    const before = isBegin ? undefined : this.#byEnd.get((key - 1) | 0);
    let run: FragmentRun;
    if (before && !before.hasEnd && before.owner === owner) {
      this.#byEnd.delete(before.end);
      before.append(data, isEnd);
      run = before;
    } else {
      run = new FragmentRun(key, owner, data);
      run.hasBegin = isBegin;
      run.hasEnd = isEnd;
      run.ppid = ppid;
      this.#byStart.set(key, run);
    }
    const after = isEnd ? undefined : this.#byStart.get((key + 1) | 0);
    if (after && !after.hasBegin && after.owner === owner) {
      this.#byStart.delete(after.start);
      this.#byEnd.delete(after.end);
      run.absorb(after);
    }
    this.#byEnd.set(run.end, run);
    return run;
  }

  remove(run: FragmentRun): void {
    this.#byStart.delete(run.start);
    this.#byEnd.delete(run.end);
  }

  /** Drops every run for which `isDoomed` holds; returns the bytes freed. */
  dropWhere(isDoomed: (run: FragmentRun) => boolean): number {
    let freed = 0;
    for (const run of this.#byStart.values()) {
      if (!isDoomed(run)) continue;
      freed += run.bytes;
      this.remove(run);
    }
    return freed;
  }
}
