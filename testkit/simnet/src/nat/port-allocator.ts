/**
 * Which outside port a new mapping gets. One allocator serves one outside
 * address; the caller says which ports are taken, so nothing is counted twice.
 * Ports below 1024 are never handed out. Blocks follow RFC 7422: an inside
 * address draws from blocks of its own, and takes another when they are full.
 */

import type { Random } from '@claw/base';
import type { PortAllocationSpec } from '@claw/scenarios';

const FIRST_PORT = 1024;
const PORTS = 65536 - FIRST_PORT;
/** Random draws before the ports are searched one after the other. */
const DRAWS = 16;

export interface PortRequest {
  /** The inside address, which owns blocks. */
  readonly owner: string;
  readonly insidePort: number;
  isTaken(port: number): boolean;
}

export class PortAllocator {
  readonly #spec: PortAllocationSpec;
  readonly #random: Random;
  readonly #blocksByOwner = new Map<string, number[]>();
  readonly #ownedBlocks = new Set<number>();
  #next: number;

  constructor(spec: PortAllocationSpec, random: Random) {
    this.#spec = spec;
    this.#random = random;
    this.#next = spec.kind === 'sequential' ? (spec.first ?? FIRST_PORT) : 0;
  }

  /** A free port, or undefined when there is none for this owner. */
  allocate(request: PortRequest): number | undefined {
    switch (this.#spec.kind) {
      case 'preserving':
        return search(Math.max(0, request.insidePort - FIRST_PORT), 1, request);
      case 'sequential':
        return this.#allocateSequential(this.#spec.stride ?? 1, request);
      case 'random':
        return this.#allocateRandom(FIRST_PORT, PORTS, request);
      case 'block':
        return this.#allocateFromBlocks(this.#spec.blockSize, request);
    }
  }

  #allocateSequential(stride: number, request: PortRequest): number | undefined {
    const port = search(this.#next - FIRST_PORT, stride, request);
    if (port !== undefined) this.#next = FIRST_PORT + ((port - FIRST_PORT + stride) % PORTS);
    return port;
  }

  #allocateRandom(first: number, count: number, request: PortRequest): number | undefined {
    for (let draw = 0; draw < DRAWS; draw += 1) {
      const port = first + Math.floor(this.#random.fraction() * count);
      if (!request.isTaken(port)) return port;
    }
    const start = Math.floor(this.#random.fraction() * count);
    for (let step = 0; step < count; step += 1) {
      const port = first + ((start + step) % count);
      if (!request.isTaken(port)) return port;
    }
    return undefined;
  }

  #allocateFromBlocks(blockSize: number, request: PortRequest): number | undefined {
    const blocks = this.#blocksByOwner.get(request.owner) ?? [];
    for (const block of blocks) {
      const port = this.#allocateRandom(FIRST_PORT + block * blockSize, blockSize, request);
      if (port !== undefined) return port;
    }
    const block = this.#takeBlock(Math.floor(PORTS / blockSize));
    if (block === undefined) return undefined;
    this.#blocksByOwner.set(request.owner, [...blocks, block]);
    return this.#allocateRandom(FIRST_PORT + block * blockSize, blockSize, request);
  }

  #takeBlock(count: number): number | undefined {
    const start = Math.floor(this.#random.fraction() * count);
    for (let step = 0; step < count; step += 1) {
      const block = (start + step) % count;
      if (this.#ownedBlocks.has(block)) continue;
      this.#ownedBlocks.add(block);
      return block;
    }
    return undefined;
  }
}

/** The first free port from `offset` in steps of `stride`, at most once round; then, where the stride misses some, each. */
function search(offset: number, stride: number, request: PortRequest): number | undefined {
  for (const step of stride === 1 ? [1] : [stride, 1]) {
    for (let tried = 0; tried < PORTS; tried += 1) {
      const port = FIRST_PORT + ((offset + tried * step) % PORTS);
      if (!request.isTaken(port)) return port;
    }
  }
  return undefined;
}
