/**
 * b's side of a measurement: answers pings, records what arrives, sends its own
 * half of a watch, and tells what it knows: each second as far as it has come,
 * and everything when asked. A transfer's record ends with its time, unasked: what
 * a slow link still holds back then does not count, nor delay the record.
 */

import type { Clock, Timer } from '@claw/base';
import { ArrivalRecord } from './arrival-record.ts';
import type { Session } from './contract.ts';
import { decodeMeasure, encodeMeasure, encodeReport, type MeasureHeader } from './measure-messages.ts';
import { WatchSender } from './watch-sender.ts';

const PROGRESS_MS = 1000;

/** Answers a's measurements until the session ends. */
export function answerMeasurements(session: Session, clock: Clock): void {
  let current: Answering | undefined;
  session.onMessage((message) => {
    const header = decodeMeasure(message);
    if (!header) return;
    if (header.kind === 'ping') {
      session.send(encodeMeasure({ ...header, kind: 'pong' })).catch(() => {}); // its end is told by onClose
      return;
    }
    if (header.kind === 'ask') {
      if (current?.run === header.run) current.tell();
      else session.send(encodeReport(header.run, emptyReport())).catch(() => {});
      return;
    }
    if (header.kind !== 'bulk' && header.kind !== 'watch') return;
    if (current?.run !== header.run) {
      current?.stop();
      current = new Answering(session, clock, header);
    }
    current.add(message.length, header.sentMs);
  });
  session.onClose(() => current?.stop());
}

class Answering {
  readonly run: number;
  readonly record: ArrivalRecord;
  readonly #session: Session;
  readonly #clock: Clock;
  readonly #watch: WatchSender | undefined;
  #progress: Timer;
  readonly #end: Timer | undefined;
  readonly #takesUntilMs: number;
  #told = 0;
  #telling = false;

  constructor(session: Session, clock: Clock, { run, kind, startMs, number }: MeasureHeader) {
    this.run = run;
    this.#session = session;
    this.#clock = clock;
    this.record = new ArrivalRecord(startMs, number);
    if (kind === 'watch') this.#watch = new WatchSender(session, clock, { id: run, startMs, durationMs: number });
    this.#progress = clock.setTimer(PROGRESS_MS, () => this.#tellProgress());
    this.#takesUntilMs = kind === 'bulk' ? startMs + number : Infinity;
    if (kind === 'bulk') {
      this.#end = clock.setTimer(startMs + number - clock.monotonicMs(), () => this.tell());
    }
  }

  add(bytes: number, sentMs: number): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs <= this.#takesUntilMs) this.record.add(bytes, sentMs, nowMs);
  }

  stop(): void {
    this.#watch?.stop();
    this.#progress.cancel();
    this.#end?.cancel();
  }

  /** Sends all that is known. */
  tell(): void {
    this.#progress.cancel();
    this.#send(0, true);
  }

  #tellProgress(): void {
    this.#progress = this.#clock.setTimer(PROGRESS_MS, () => this.#tellProgress());
    const buckets = this.record.buckets().length;
    if (this.#telling || buckets <= this.#told) return;
    this.#send(this.#told, false);
    this.#told = buckets - 1; // the last one may grow still
  }

  #send(from: number, final: boolean): void {
    this.record.sent = this.#watch?.sent ?? 0;
    const pieces = [...this.record.reports(from, this.#clock.monotonicMs(), final)];
    this.#telling = true;
    const sent = pieces.map((piece) => this.#session.send(encodeReport(this.run, piece)));
    Promise.all(sent).then(
      () => {
        this.#telling = false;
      },
      () => this.stop(),
    );
  }
}

function emptyReport() {
  return { ...{ from: 0, buckets: [], bytes: 0, messages: 0, lastMs: 0, stallMs: 0, sent: 0, atMs: 0 }, last: true };
}
