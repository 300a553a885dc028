/** What every carrier must do, as one suite: call it from the carrier's own test file. */

import { randomBytes } from 'node:crypto';
import type { Carrier, CarrierStatus, EnvelopeHandler, NodeId } from '@claw/contracts';
import { describe, expect, it } from 'vitest';

/** A carrier that counts what it refused to send. */
export interface CountingCarrier extends Carrier {
  status(): CarrierStatus & { readonly envelopesDropped: number };
}

export interface CarrierEnd {
  readonly nodeId: NodeId;
  readonly carrier: CountingCarrier;
}

/** Two carriers that reach each other, both `up`. */
export interface CarrierPair {
  readonly a: CarrierEnd;
  readonly b: CarrierEnd;
  /** Closes what the carriers stood on (a relay, a network), not the carriers. */
  close(): Promise<void>;
}

export type OpenCarrierPair = (onEnvelopeAtA: EnvelopeHandler, onEnvelopeAtB: EnvelopeHandler) => Promise<CarrierPair>;

export interface CarrierComplianceOptions {
  /** The carrier claims to lose nothing between two healthy ends. */
  readonly lossless: boolean;
  /** Shortest envelope that it carries, bytes. Default 1. */
  readonly minEnvelopeBytes?: number;
  /** Bytes that the carrier takes for an envelope to this node. Default: random bytes. */
  readonly makeEnvelope?: (to: NodeId, length: number) => Uint8Array;
  /** Timers pending on the injected clock, for the leak check. Default: not checked. */
  readonly pendingTimers?: () => number;
}

/** Handles that a carrier may hold while open; none may be left afterwards. */
const HANDLES = /^(TCP|TLS|UDP|Pipe)/;

export function carrierCompliance(name: string, openPair: OpenCarrierPair, options: CarrierComplianceOptions): void {
  const makeEnvelope = options.makeEnvelope ?? ((_to: NodeId, length: number) => randomBytes(length));

  /** Runs `test` on a fresh pair and closes it, whatever happens. */
  async function withPair(test: (pair: CarrierPair, inbox: { a: Uint8Array[]; b: Uint8Array[] }) => Promise<void>) {
    const inbox = { a: [] as Uint8Array[], b: [] as Uint8Array[] };
    const pair = await openPair(
      (bytes) => inbox.a.push(bytes),
      (bytes) => inbox.b.push(bytes),
    );
    try {
      await test(pair, inbox);
    } finally {
      await Promise.all([pair.a.carrier.close(), pair.b.carrier.close()]);
      await pair.close();
    }
  }

  describe(`${name} as a carrier`, () => {
    it('carrier delivers whole envelopes when they have its minimum of bytes up to its maximum', () =>
      withPair(async ({ a, b }, inbox) => {
        const max = a.carrier.maxEnvelopeBytes;
        for (const length of [options.minEnvelopeBytes ?? 1, 41, 57, 1000, 1301, max - 1, max]) {
          const envelope = makeEnvelope(b.nodeId, length);
          a.carrier.send(b.nodeId, envelope);
          await until(() => inbox.b.length === 1, `${length} bytes to arrive`);
          expect(Buffer.compare(inbox.b[0] as Uint8Array, envelope)).toBe(0);
          inbox.b.length = 0;
        }
        expect(inbox.a).toHaveLength(0);
      }));

    it('carrier delivers in both directions when both ends send at once', () =>
      withPair(async ({ a, b }, inbox) => {
        const toA = makeEnvelope(a.nodeId, 300);
        const toB = makeEnvelope(b.nodeId, 300);
        a.carrier.send(b.nodeId, toB);
        b.carrier.send(a.nodeId, toA);
        await until(() => inbox.a.length === 1 && inbox.b.length === 1, 'one envelope at each end');
        expect(Buffer.compare(inbox.a[0] as Uint8Array, toA)).toBe(0);
        expect(Buffer.compare(inbox.b[0] as Uint8Array, toB)).toBe(0);
        expect(a.carrier.status()).toMatchObject({
          state: 'up',
          envelopesSent: 1,
          bytesSent: 300,
          envelopesReceived: 1,
          bytesReceived: 300,
        });
      }));

    it.runIf(options.lossless)('carrier loses nothing when 200 envelopes are sent in a row', () =>
      withPair(async ({ a, b }, inbox) => {
        const sent = Array.from({ length: 200 }, (_, index) => makeEnvelope(b.nodeId, 60 + index * 4));
        for (const envelope of sent) a.carrier.send(b.nodeId, envelope);
        await until(() => inbox.b.length >= sent.length, '200 envelopes');
        const texts = (envelopes: Uint8Array[]) => envelopes.map((bytes) => Buffer.from(bytes).toString('hex')).sort();
        expect(texts(inbox.b)).toEqual(texts(sent));
      }),
    );

    it('carrier drops and counts an envelope when it is longer than its maximum', () =>
      withPair(async ({ a, b }, inbox) => {
        a.carrier.send(b.nodeId, makeEnvelope(b.nodeId, a.carrier.maxEnvelopeBytes + 1));
        expect(a.carrier.status()).toMatchObject({ envelopesSent: 0, bytesSent: 0, envelopesDropped: 1 });
        const next = makeEnvelope(b.nodeId, 60);
        a.carrier.send(b.nodeId, next);
        await until(() => inbox.b.length > 0, 'the next envelope');
        expect(Buffer.compare(inbox.b[0] as Uint8Array, next)).toBe(0);
      }));

    it('carrier delivers nothing when it was closed, and close is idempotent', () =>
      withPair(async ({ a, b }, inbox) => {
        b.carrier.send(a.nodeId, makeEnvelope(a.nodeId, 100));
        const closing = [a.carrier.close(), a.carrier.close(), a.carrier[Symbol.asyncDispose]()];
        await Promise.all(closing);
        const delivered = inbox.a.length;
        b.carrier.send(a.nodeId, makeEnvelope(a.nodeId, 100));
        a.carrier.send(b.nodeId, makeEnvelope(b.nodeId, 100));
        // An envelope that b sends itself goes the same way: once it is back, the earlier ones have passed.
        b.carrier.send(b.nodeId, makeEnvelope(b.nodeId, 100));
        await until(() => inbox.b.length === 1, "b's own envelope");
        expect(inbox.a).toHaveLength(delivered);
        expect(a.carrier.status().state).toBe('down');
      }));

    it('carrier leaves no socket and no timer behind when it was closed', async () => {
      const before = { handles: openHandles(), timers: options.pendingTimers?.() };
      await withPair(async ({ a, b }, inbox) => {
        a.carrier.send(b.nodeId, makeEnvelope(b.nodeId, 100));
        await until(() => inbox.b.length === 1, 'an envelope');
      });
      await until(() => openHandles() <= before.handles, 'every socket to close');
      expect(options.pendingTimers?.()).toBe(before.timers);
    });
  });
}

function openHandles(): number {
  return process.getActiveResourcesInfo().filter((resource) => HANDLES.test(resource)).length;
}

/**
 * Waits without sleeping: looks after every turn of the event loop. Resolves once
 * `condition` holds; rejects, naming `what`, after `timeoutMs` (default 10,000).
 */
export async function until(condition: () => boolean, what: string, timeoutMs = 10_000): Promise<void> {
  const giveUpAt = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > giveUpAt) throw new Error(`waited ${timeoutMs} ms in vain for ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
