/**
 * a's side of a measurement: pings, a bulk transfer, a watch, in this order, the
 * same for every contestant. Each part is bounded in time; a session that dies or
 * stalls ends it with what is known until then, and with the reason.
 */

import { setImmediate } from 'node:timers/promises';
import { type Clock, errorText, withDeadline } from '@claw/base';
import { ArrivalRecord } from './arrival-record.ts';
import type { BulkMeasured, Measured, PathFacts, Session, WatchMeasured } from './contract.ts';
import {
  BULK_BYTES,
  decodeMeasure,
  decodeReport,
  encodeMeasure,
  type MeasureHeader,
  SMALL_BYTES,
} from './measure-messages.ts';
import { WatchSender } from './watch-sender.ts';

export interface MeasureOrder {
  readonly pings: number;
  readonly bulkMs: number;
  readonly watchMs: number;
}

export interface MeasureLimits {
  /** A ping without an answer by then counts as lost. */
  readonly pingMs: number;
  /** After the last message of a run, for what is still under way and for the other side's record. */
  readonly drainMs: number;
  /** Until the question for the record is said again. */
  readonly askMs: number;
}

export const MEASURE_LIMITS: MeasureLimits = { pingMs: 5000, drainMs: 15_000, askMs: 2000 };
const PATH_LIMIT_MS = 2000;
/** For what is under way at the end of a run, of which b may then tell without having been asked. */
const SETTLE_MS = 2000;
/** Messages between two turns of the event loop, for contestants that take everything at once. */
const MESSAGES_PER_TURN = 32;

/** Longest time that {@link Measurer.measure} can take. */
export function longestMeasureMs(order: MeasureOrder, limits = MEASURE_LIMITS): number {
  const runs = Number(order.bulkMs > 0) + Number(order.watchMs > 0);
  return order.pings * limits.pingMs + order.bulkMs + order.watchMs + runs * limits.drainMs + 2 * PATH_LIMIT_MS;
}

export class Measurer {
  readonly #session: Session;
  readonly #clock: Clock;
  readonly #limits: MeasureLimits;
  #run = 0;
  #ended: string | undefined;
  readonly #whenEnded = new Set<() => void>();
  #onPong: (pong: MeasureHeader) => void = () => {};
  /** Of the run under way: what came here, and what b says came there. */
  #here = new ArrivalRecord(0, 0);
  #there = new ArrivalRecord(0, 0);
  #onComplete: () => void = () => {};

  constructor(session: Session, clock: Clock, limits: MeasureLimits = MEASURE_LIMITS) {
    this.#session = session;
    this.#clock = clock;
    this.#limits = limits;
    session.onMessage((message) => this.#receive(message));
    session.onClose((reason) => this.#end(reason));
  }

  async measure(order: MeasureOrder): Promise<Measured> {
    const before = await this.#path();
    const roundTripMs: (number | null)[] = [];
    for (let ping = 0; ping < order.pings && this.#ended === undefined; ping += 1) {
      roundTripMs.push(await this.#ping(ping));
    }
    const bulk = order.bulkMs > 0 && this.#ended === undefined ? await this.#bulk(order.bulkMs) : undefined;
    const watch = order.watchMs > 0 && this.#ended === undefined ? await this.#watch(order.watchMs) : undefined;
    const after = await this.#path();
    const moved = after && JSON.stringify(after) !== JSON.stringify(before);
    return {
      roundTripMs,
      ...(bulk && { bulk }),
      ...(watch && { watch }),
      ...(moved && { pathAfter: after }),
      ...(this.#ended !== undefined && { ended: this.#ended }),
    };
  }

  #receive(message: Buffer): void {
    const header = decodeMeasure(message);
    if (header?.kind === 'pong') return this.#onPong(header);
    if (header?.run !== this.#run) return;
    if (header.kind === 'watch') this.#here.add(message.length, header.sentMs, this.#clock.monotonicMs());
    if (header.kind !== 'report') return;
    const report = decodeReport(message);
    if (!report) return this.#end('b sent a record that cannot be read');
    this.#there.merge(report);
    // What a slow path still has to deliver long after the run is not waited for.
    if (report.last || report.atMs >= this.#there.startMs + this.#there.durationMs + SETTLE_MS) this.#onComplete();
  }

  #ping(number: number): Promise<number | null> {
    const sentMs = this.#clock.monotonicMs();
    return this.#bounded<number | null>(this.#limits.pingMs, null, (resolve) => {
      this.#onPong = (pong) => {
        if (pong.number === number) resolve(this.#clock.monotonicMs() - sentMs);
      };
      this.#send(encodeMeasure({ kind: 'ping', run: 0, startMs: 0, sentMs, number }));
    });
  }

  async #bulk(durationMs: number): Promise<BulkMeasured> {
    const { run, startMs } = this.#begin(durationMs);
    const endMs = startMs + durationMs;
    let stopped = false;
    await this.#bounded(durationMs, undefined, (resolve) => {
      const sendAll = async () => {
        for (let count = 1; !stopped; count += 1) {
          const sentMs = this.#clock.monotonicMs();
          if (sentMs >= endMs) break;
          await this.#session.send(
            encodeMeasure({ kind: 'bulk', run, startMs, sentMs, number: durationMs }, BULK_BYTES),
          );
          if (count % MESSAGES_PER_TURN === 0) await setImmediate();
        }
      };
      sendAll().then(
        () => resolve(undefined),
        (error) => this.#end(errorText(error)),
      );
    });
    stopped = true;
    await this.#collect(run);
    const there = this.#there;
    return {
      bytes: there.bytes,
      durationMs,
      stallMs: there.stallMs(this.#clock.monotonicMs()),
      timeline: there.buckets().map(([bytes, messages, sum]) => ({ bytes, delayMs: messages ? sum / messages : null })),
    };
  }

  async #watch(durationMs: number): Promise<WatchMeasured> {
    const { run, startMs } = this.#begin(durationMs);
    const sender = new WatchSender(this.#session, this.#clock, { id: run, startMs, durationMs });
    await this.#bounded(durationMs, undefined, () => {});
    sender.stop();
    await this.#collect(run);
    const [here, there, nowMs] = [this.#here, this.#there, this.#clock.monotonicMs()];
    return {
      longestGapMs: { a: here.stallMs(nowMs), b: there.stallMs(nowMs) },
      sent: { a: sender.sent, b: there.sent },
      received: { a: here.messages, b: there.messages },
      timeline: there.buckets().map(([, messages, sum]) => (messages ? sum / messages : null)),
    };
  }

  #begin(durationMs: number): { run: number; startMs: number } {
    const startMs = this.#clock.monotonicMs();
    this.#run += 1;
    this.#here = new ArrivalRecord(startMs, durationMs);
    this.#there = new ArrivalRecord(startMs, durationMs);
    return { run: this.#run, startMs };
  }

  /** Asks b for its record until all of it is here. */
  async #collect(run: number): Promise<void> {
    let complete = false;
    const endMs = this.#clock.monotonicMs() + this.#limits.drainMs;
    while (!complete && this.#ended === undefined) {
      const leftMs = endMs - this.#clock.monotonicMs();
      if (leftMs <= 0) return this.#end(`b's record did not come within ${this.#limits.drainMs} ms`);
      await this.#bounded(Math.min(leftMs, this.#limits.askMs), undefined, (resolve) => {
        this.#onComplete = () => {
          complete = true;
          resolve(undefined);
        };
        this.#send(encodeMeasure({ kind: 'ask', run, startMs: 0, sentMs: 0, number: 0 }, SMALL_BYTES));
      });
    }
  }

  /** Runs `begin` until it resolves, the time is over or the session ended. */
  async #bounded<T>(limitMs: number, otherwise: T, begin: (resolve: (value: T) => void) => void): Promise<T> {
    const { promise, resolve } = Promise.withResolvers<T>();
    const stop = () => resolve(otherwise);
    this.#whenEnded.add(stop);
    const timer = this.#clock.setTimer(limitMs, stop);
    begin(resolve);
    if (this.#ended !== undefined) stop();
    try {
      return await promise;
    } finally {
      timer.cancel();
      this.#whenEnded.delete(stop);
    }
  }

  #send(message: Buffer): void {
    this.#session.send(message).catch((error: unknown) => this.#end(errorText(error)));
  }

  #end(reason: string): void {
    this.#ended ??= reason;
    for (const stop of this.#whenEnded) stop();
  }

  async #path(): Promise<PathFacts | undefined> {
    if (this.#ended !== undefined) return undefined;
    try {
      return await withDeadline(this.#clock, this.#session.path(), PATH_LIMIT_MS, () => new Error('no path told'));
    } catch {
      return undefined; // a contestant that cannot tell its path now has told it at the start
    }
  }
}
