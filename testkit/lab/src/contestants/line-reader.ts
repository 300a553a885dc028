/** Cuts what arrives into lines, none longer than a limit: the other end may be anything. */

import { StringDecoder } from 'node:string_decoder';

/** A record of ten minutes fits. */
const MAX_LINE_CHARACTERS = 4 * 1024 * 1024;

export class LineReader {
  readonly #onLine: (line: string) => void;
  readonly #onTooLong: () => void;
  readonly #maxCharacters: number;
  readonly #decoder = new StringDecoder('utf8');
  #pieces: string[] = [];
  #characters = 0;
  #broken = false;

  /** `onTooLong` is called once; nothing is read after it. */
  constructor(onLine: (line: string) => void, onTooLong: () => void, maxCharacters = MAX_LINE_CHARACTERS) {
    this.#onLine = onLine;
    this.#onTooLong = onTooLong;
    this.#maxCharacters = maxCharacters;
  }

  push(chunk: Buffer): void {
    if (this.#broken) return;
    const [first = '', ...rest] = this.#decoder.write(chunk).split('\n');
    this.#keep(first);
    for (const line of rest) {
      const whole = this.#pieces.join('');
      this.#pieces = [];
      this.#characters = 0;
      if (whole.trim() !== '' && !this.#broken) this.#onLine(whole);
      this.#keep(line);
    }
  }

  #keep(piece: string): void {
    this.#characters += piece.length;
    if (this.#characters <= this.#maxCharacters) return void this.#pieces.push(piece);
    if (!this.#broken) this.#onTooLong();
    this.#broken = true;
  }
}
