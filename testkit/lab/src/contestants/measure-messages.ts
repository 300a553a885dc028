/**
 * The messages that two harnesses measure with, inside a session. All begin with
 * one header: kind u8, run u32, start f64, sent f64, number u32. Times are
 * milliseconds of the clock that both processes share.
 */

export type MeasureKind = keyof typeof KINDS;

const KINDS = {
  /** number: which ping. */
  ping: 1,
  pong: 2,
  /** number: how long the run is to last, milliseconds. */
  bulk: 3,
  /** As bulk; b's first one starts its own. */
  watch: 4,
  /** Asks for all that is known of the run. */
  ask: 5,
  /** A piece of a {@link Report} as JSON. */
  report: 6,
} as const;
const NAMES = new Map<number, MeasureKind>(Object.entries(KINDS).map(([name, kind]) => [kind, name as MeasureKind]));

const HEADER_BYTES = 25;
export const SMALL_BYTES = 64;
export const BULK_BYTES = 16 * 1024;

export interface MeasureHeader {
  readonly kind: MeasureKind;
  /** Tells one measurement from the next; what comes late from an older one is not counted. */
  readonly run: number;
  readonly startMs: number;
  readonly sentMs: number;
  readonly number: number;
}

/** What the receiver knows of a run: some buckets, and its sums so far. */
export interface Report {
  /** Index of the first bucket in here. */
  readonly from: number;
  /** Bytes, messages and sum of one-way delays. */
  readonly buckets: readonly (readonly [bytes: number, messages: number, delaySumMs: number])[];
  readonly bytes: number;
  readonly messages: number;
  readonly lastMs: number;
  readonly stallMs: number;
  /** When the reporter wrote it. */
  readonly atMs: number;
  /** Messages that the reporter sent itself. */
  readonly sent: number;
  /** Nothing comes after this piece. */
  readonly last: boolean;
}

/** A message of `bytes` bytes, zeros behind the header. */
export function encodeMeasure(header: MeasureHeader, bytes = SMALL_BYTES): Buffer {
  const message = Buffer.alloc(bytes);
  message[0] = KINDS[header.kind];
  message.writeUInt32LE(header.run, 1);
  message.writeDoubleLE(header.startMs, 5);
  message.writeDoubleLE(header.sentMs, 13);
  message.writeUInt32LE(header.number, 21);
  return message;
}

export function encodeReport(run: number, report: Report): Buffer {
  const head = encodeMeasure({ kind: 'report', run, startMs: 0, sentMs: 0, number: 0 }, HEADER_BYTES);
  return Buffer.concat([head, Buffer.from(JSON.stringify(report))]);
}

/** `undefined` for what is none of ours. */
export function decodeMeasure(message: Buffer): MeasureHeader | undefined {
  const kind = NAMES.get(message[0] ?? 0);
  if (!kind || message.length < HEADER_BYTES) return undefined;
  return {
    kind,
    run: message.readUInt32LE(1),
    startMs: message.readDoubleLE(5),
    sentMs: message.readDoubleLE(13),
    number: message.readUInt32LE(21),
  };
}

/** `undefined` for what is no report. */
export function decodeReport(message: Buffer): Report | undefined {
  try {
    const report = JSON.parse(message.toString('utf8', HEADER_BYTES)) as Report;
    const sums = [report.from, report.bytes, report.messages, report.lastMs, report.stallMs, report.sent, report.atMs];
    return sums.every(Number.isFinite) && Array.isArray(report.buckets) ? report : undefined;
  } catch {
    return undefined;
  }
}
