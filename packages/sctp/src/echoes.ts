/**
 * Chunks to be sent once more without waiting for news of them. One that was lost
 * twice holds back all that comes after it; on a path that loses much a third loss
 * would fill the peer's window behind it, while a copy of so few costs next to nothing.
 */

import { RingQueue } from './ring-queue.ts';
import { ChunkState, type SentChunk, type SentChunks } from './sent-chunks.ts';
import { isAfter } from './serial.ts';

/** A copy right behind the original would fall victim to the same burst. */
const DELAY_RTTS = 1 / 16;
const MIN_LOSSES = 2;

interface Echo {
  readonly tsn: number;
  /** Of the chunk, when the echo was planned; another number means that it has been sent since. */
  readonly transmissions: number;
  readonly dueMs: number;
}

export class Echoes {
  readonly #chunks: SentChunks;
  readonly #queue = new RingQueue<Echo>();

  constructor(chunks: SentChunks) {
    this.#chunks = chunks;
  }

  /** `chunk` was lost and leaves again now, as its `transmissions` will say in a moment. */
  onRetransmit(chunk: SentChunk, smoothedRttMs: number, nowMs: number): void {
    if (chunk.transmissions < MIN_LOSSES || chunk.message?.isPartlyReliable) return;
    const dueMs = nowMs + smoothedRttMs * DELAY_RTTS;
    this.#queue.push({ tsn: chunk.tsn, transmissions: chunk.transmissions + 1, dueMs });
  }

  /** A chunk whose copy is due and makes sense still. */
  due(nowMs: number): SentChunk | undefined {
    for (let echo = this.#queue.peek(); echo && echo.dueMs <= nowMs; echo = this.#queue.peek()) {
      if (!isAfter(this.#chunks.firstTsn, echo.tsn)) {
        const chunk = this.#chunks.get(echo.tsn);
        if (chunk.state === ChunkState.inFlight && chunk.transmissions === echo.transmissions) return chunk;
      }
      this.#queue.shift();
    }
    return undefined;
  }
}
