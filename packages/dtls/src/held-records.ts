/** Records that came before what is needed to use them; bounded, for anybody can send such. */

const MAX_RECORDS = 32;
const MAX_BYTES = 32_768;

export class HeldRecords {
  #records: Buffer[] = [];
  #bytes = 0;

  /** Keeps a copy, or drops it when there are too many. */
  add(record: Buffer): void {
    if (this.#records.length >= MAX_RECORDS || this.#bytes + record.length > MAX_BYTES) return;
    this.#records.push(Buffer.from(record));
    this.#bytes += record.length;
  }

  /** All of them, in order; none is left. */
  takeAll(): Buffer[] {
    const records = this.#records;
    this.#records = [];
    this.#bytes = 0;
    return records;
  }
}
