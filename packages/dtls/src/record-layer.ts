/**
 * Cuts datagrams into records and back (RFC 6347 §4.1, RFC 9147 §4). What is
 * forged, replayed, of an unknown epoch or malformed is dropped without a word
 * (RFC 9147 §4.5.2). The limits of §4.5.3 on the use of a key hold in both versions.
 */

import { fault } from './errors.ts';
import { HEADER_BYTES, MAX_CONTENT_BYTES, MAX_SEQUENCE, writeHeader } from './plain-record.ts';
import type { RecordOpener, RecordSealer } from './record-protection.ts';
import {
  CONNECTION_ID_BIT,
  EPOCH_MASK,
  LENGTH_BIT,
  LONG_SEQUENCE_BIT,
  UNIFIED_BITS,
  UNIFIED_MASK,
} from './record-protection-13.ts';
import { contentType, type DtlsVersion } from './registry.ts';

export interface RecordSink {
  /** `content` is the sink's until it returns. */
  onRecord(type: number, epoch: number, sequence: number, content: Buffer): void;
  /** A record of an epoch that has no keys here; a view of the datagram. */
  onUnreadable(record: Buffer): void;
  /** More records of an epoch were forged than a key may see. */
  onForgeryLimit(epoch: number): void;
}

/** How far one key may be used. */
export interface KeyLimits {
  /** 16-byte blocks sealed under AES-GCM. Default 2^34.5, which are 2^24.5 records of full size. */
  readonly sealedBlocks: number;
  /** Records that failed authentication. Default 2^36. */
  readonly failedOpens: number;
}

export const defaultKeyLimits: KeyLimits = { sealedBlocks: 2 ** 34.5, failedOpens: 2 ** 36 };

interface Writer {
  readonly sealer: RecordSealer | undefined;
  sequence: number;
  blocks: number;
}

interface Reader {
  readonly epoch: number;
  readonly version: DtlsVersion;
  readonly opener: RecordOpener;
  failures: number;
}

/** Key updates start at this part of a limit. */
const UPDATE_AT = 0.75;
const BLOCK_BYTES = 16;
/** Beside the content: a block for the key stream's start and one for the tag. */
const BLOCKS_A_RECORD = 2;
const MAX_SEALED_BYTES = MAX_CONTENT_BYTES + 256;

export class RecordLayer {
  readonly #limits: KeyLimits;
  readonly #writers = new Map<number, Writer>([[0, { sealer: undefined, sequence: 0, blocks: 0 }]]);
  /** By the two low bits of the epoch: a new epoch takes the place of the fourth before it. */
  readonly #readers: (Reader | undefined)[] = [undefined, undefined, undefined, undefined];
  /** The epoch that alerts, acknowledgements and application data go out in. */
  writeEpoch = 0;

  constructor(limits: KeyLimits) {
    this.#limits = limits;
  }

  installWriter(epoch: number, sealer: RecordSealer): void {
    this.#writers.set(epoch, { sealer, sequence: 0, blocks: 0 });
  }

  dropWriter(epoch: number): void {
    this.#writers.get(epoch)?.sealer?.wipe();
    this.#writers.delete(epoch);
  }

  installReader(epoch: number, version: DtlsVersion, opener: RecordOpener): void {
    this.#readers[epoch & EPOCH_MASK]?.opener.wipe();
    this.#readers[epoch & EPOCH_MASK] = { epoch, version, opener, failures: 0 };
  }

  dropReader(epoch: number): void {
    const reader = this.#readers[epoch & EPOCH_MASK];
    if (reader?.epoch !== epoch) return;
    reader.opener.wipe();
    this.#readers[epoch & EPOCH_MASK] = undefined;
  }

  /** Forgets every key. */
  wipe(): void {
    for (const { sealer } of this.#writers.values()) sealer?.wipe();
    for (const reader of this.#readers) reader?.opener.wipe();
    this.#writers.clear();
    this.#readers.fill(undefined);
  }

  overheadBytes(epoch: number): number {
    return this.#writer(epoch).sealer?.overheadBytes ?? HEADER_BYTES;
  }

  /** The number that the next record of `epoch` gets. */
  nextSequence(epoch: number): number {
    return this.#writer(epoch).sequence;
  }

  /** True when it is time for a key update. */
  get nearsLimit(): boolean {
    const { blocks, sequence } = this.#writer(this.writeEpoch);
    return blocks > this.#limits.sealedBlocks * UPDATE_AT || sequence > MAX_SEQUENCE * UPDATE_AT;
  }

  /** Writes a record to `out` and returns where it ends. @throws ClawError `DTLS_KEY_EXHAUSTED` */
  write(epoch: number, type: number, content: Uint8Array, out: Buffer, offset: number): number {
    const writer = this.#writer(epoch);
    const { sealer, sequence } = writer;
    if (sequence >= MAX_SEQUENCE || writer.blocks > this.#limits.sealedBlocks) {
      throw fault('DTLS_KEY_EXHAUSTED', `the keys of epoch ${epoch} have sealed as much as they may`);
    }
    writer.sequence += 1;
    if (sealer) {
      writer.blocks += Math.ceil(content.length / BLOCK_BYTES) + BLOCKS_A_RECORD;
      return sealer.seal(type, sequence, content, out, offset);
    }
    writeHeader(out, offset, type, epoch, sequence, content.length);
    out.set(content, offset + HEADER_BYTES);
    return offset + HEADER_BYTES + content.length;
  }

  /** Hands every record of `datagram`, which it may write to, to `sink`. */
  read(datagram: Buffer, sink: RecordSink): void {
    let offset = 0;
    while (offset < datagram.length) {
      const first = datagram[offset] as number;
      const next =
        (first & UNIFIED_MASK) === UNIFIED_BITS
          ? this.#readUnified(datagram, offset, first, sink)
          : this.#readPlain(datagram, offset, first, sink);
      if (next === undefined) return;
      offset = next;
    }
  }

  #readUnified(datagram: Buffer, offset: number, first: number, sink: RecordSink): number | undefined {
    if (first & CONNECTION_ID_BIT) return undefined;
    const lengthAt = offset + (first & LONG_SEQUENCE_BIT ? 3 : 2);
    const headerEnd = lengthAt + (first & LENGTH_BIT ? 2 : 0);
    if (headerEnd > datagram.length) return undefined;
    const end = first & LENGTH_BIT ? headerEnd + datagram.readUInt16BE(lengthAt) : datagram.length;
    if (end > datagram.length || end - headerEnd > MAX_SEALED_BYTES) return undefined;
    const record = datagram.subarray(offset, end);
    const reader = this.#readers[first & EPOCH_MASK];
    if (reader?.version === '1.3') this.#open(reader, record, headerEnd - offset, sink);
    else sink.onUnreadable(record);
    return end;
  }

  #readPlain(datagram: Buffer, offset: number, type: number, sink: RecordSink): number | undefined {
    const headerEnd = offset + HEADER_BYTES;
    if (type < contentType.changeCipherSpec || type > contentType.ack || headerEnd > datagram.length) return undefined;
    const end = headerEnd + datagram.readUInt16BE(offset + 11);
    if (datagram[offset + 1] !== 0xfe || end > datagram.length) return undefined;
    const epoch = datagram.readUInt16BE(offset + 3);
    if (epoch === 0) {
      if (end - headerEnd > MAX_CONTENT_BYTES) return undefined;
      sink.onRecord(type, 0, datagram.readUIntBE(offset + 5, 6), datagram.subarray(headerEnd, end));
      return end;
    }
    if (end - headerEnd > MAX_SEALED_BYTES) return undefined;
    const record = datagram.subarray(offset, end);
    const reader = this.#readers[epoch & EPOCH_MASK];
    if (reader?.version === '1.2' && reader.epoch === epoch) this.#open(reader, record, HEADER_BYTES, sink);
    else sink.onUnreadable(record);
    return end;
  }

  #open(reader: Reader, record: Buffer, headerEnd: number, sink: RecordSink): void {
    const { opener } = reader;
    if (opener.open(record, headerEnd)) {
      sink.onRecord(opener.type, reader.epoch, opener.sequence, opener.takeContent());
      return;
    }
    // Replays count too: that keeps the path short, and a limit that is reached early is no harm.
    reader.failures += 1;
    if (reader.failures > this.#limits.failedOpens) sink.onForgeryLimit(reader.epoch);
  }

  #writer(epoch: number): Writer {
    const writer = this.#writers.get(epoch);
    if (!writer) throw fault('DTLS_INTERNAL', `there are no keys for epoch ${epoch}`);
    return writer;
  }
}
