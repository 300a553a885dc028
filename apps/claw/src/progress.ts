/** One line on a terminal's stderr that shows how far something is; silent elsewhere. */

import { readableBytes } from './output.ts';

const WIDTH = 28;
const REDRAW_MS = 80;

export class ProgressBar {
  readonly #enabled: boolean;
  #startedMs = performance.now();
  #startedAt = 0;
  #drawnMs = 0;
  #phase = '';

  constructor(enabled = process.stderr.isTTY === true) {
    this.#enabled = enabled;
  }

  update(phase: string, done: number, total: number): void {
    const now = performance.now();
    if (phase !== this.#phase) {
      this.#phase = phase;
      this.#startedMs = now;
      this.#startedAt = done;
      this.#drawnMs = 0;
    }
    if (!this.#enabled || (now - this.#drawnMs < REDRAW_MS && done < total)) return;
    this.#drawnMs = now;
    const share = total > 0 ? Math.min(1, done / total) : 1;
    const filled = Math.round(share * WIDTH);
    const rate = (done - this.#startedAt) / Math.max(0.001, (now - this.#startedMs) / 1000);
    const left = rate > 0 ? Math.ceil((total - done) / rate) : 0;
    const bar = '█'.repeat(filled) + '░'.repeat(WIDTH - filled);
    const figures = `${(share * 100).toFixed(0).padStart(3)} %  ${readableBytes(done)} of ${readableBytes(total)}  ${readableBytes(rate)}/s  ${left} s left`;
    process.stderr.write(`\r\u001b[2K${phase}  ${bar}  ${figures}`);
  }

  message(text: string): void {
    if (this.#enabled) process.stderr.write(`\r\u001b[2K${text}`);
  }

  /** Takes the line away. */
  clear(): void {
    if (this.#enabled) process.stderr.write('\r\u001b[2K');
  }
}
