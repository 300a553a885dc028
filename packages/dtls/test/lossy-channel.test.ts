import { fuzzRuns } from '@claw/testkit';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type CoreOptions, TwoCores } from './two-cores.ts';

const versions = fc.constantFrom<CoreOptions['versions'] & object>(['1.2'], ['1.3'], ['1.3', '1.2']);

/** A pair for each draw: a handshake costs milliseconds of real keys. */
const runs = Math.ceil(fuzzRuns / 8);

/** Sends until `count` different lines have arrived on each side, or the time is over. */
function exchangeUntilHeard(pair: TwoCores): void {
  const deadlineMs = pair.nowMs + 20_000;
  while (pair.nowMs < deadlineMs && (pair.client.received.length === 0 || pair.server.received.length === 0)) {
    for (const core of [pair.client, pair.server]) {
      if (core.state === 'connected') core.connection.sendApplicationData(Buffer.from('data'));
    }
    pair.nowMs += 50;
    pair.run(pair.nowMs);
  }
}

test('both sides connect and exchange data, or report why not by the deadline, whatever the path does (fuzz)', () => {
  fc.assert(
    fc.property(
      fc.record({
        seed: fc.nat(2 ** 30),
        loss: fc.constantFrom(0, 0.05, 0.2, 0.4),
        duplication: fc.constantFrom(0, 0.3, 1),
        jitterMs: fc.constantFrom(0, 5, 80, 400),
        client: versions,
        server: versions,
        mtuBytes: fc.constantFrom(256, 500, 1200),
        cookie: fc.boolean(),
        postQuantum: fc.constantFrom('offer', 'prefer'),
        addressProven: fc.boolean(),
      }),
      ({ seed, loss, duplication, jitterMs, client, server, mtuBytes, cookie, postQuantum, addressProven }) => {
        const pair = new TwoCores(
          { mtuBytes, postQuantum: postQuantum as 'offer' },
          { seed, loss, duplication, delayMs: [5, 5 + jitterMs] },
          { versions: client },
          { versions: server, cookie, addressProven },
        );
        pair.start().run(31_000, () => pair.bothConnected);
        const common = client.some((version) => server.includes(version));
        if (!common) {
          expect(pair.client.error?.code).toMatch(/DTLS_(PEER_ALERT|NEGOTIATION_FAILED|TIMEOUT)/);
          expect(pair.server.error?.code).toMatch(/DTLS_(NEGOTIATION_FAILED|TIMEOUT)/);
          return;
        }
        if (!pair.bothConnected) {
          // With two datagrams of five lost, thirty seconds can be too short; silence is never the answer.
          expect(loss).toBeGreaterThanOrEqual(0.2);
          pair.run(70_000);
          expect([pair.client.state, pair.server.state]).toContain('failed');
          return;
        }
        exchangeUntilHeard(pair);
        expect(pair.client.received.length).toBeGreaterThan(0);
        expect(pair.server.received.length).toBeGreaterThan(0);
        expect(pair.client.connection.exportKeyingMaterial('l', 16)).toEqual(
          pair.server.connection.exportKeyingMaterial('l', 16),
        );
        pair.run(pair.nowMs + 40_000);
        // The client's last flight may still fail to arrive whole on the worst of paths.
        if (loss < 0.2) expect([pair.client.error, pair.server.error]).toEqual([undefined, undefined]);
      },
    ),
    { numRuns: runs },
  );
});

test('keys are renewed on a lossy path, and data goes on (fuzz)', () => {
  fc.assert(
    fc.property(fc.nat(2 ** 30), fc.constantFrom(0, 0.1, 0.2), (seed, loss) => {
      const pair = new TwoCores({ versions: ['1.3'] }, { seed, loss, delayMs: [5, 40] }).start();
      pair.run(31_000, () => pair.bothConnected);
      if (!pair.bothConnected) return;
      for (let round = 0; round < 6; round++) {
        const [first, second] = round % 2 ? [pair.client, pair.server] : [pair.server, pair.client];
        first.connection.updateKeys(pair.nowMs);
        if (round > 3) second.connection.updateKeys(pair.nowMs);
        pair.run(pair.nowMs + 29_000);
        pair.client.received.length = 0;
        pair.server.received.length = 0;
        exchangeUntilHeard(pair);
        expect(pair.client.received.length).toBeGreaterThan(0);
        expect(pair.server.received.length).toBeGreaterThan(0);
      }
      expect(pair.client.events.filter(({ type }) => type === 'keys-updated').length).toBeGreaterThanOrEqual(6);
    }),
    { numRuns: Math.ceil(runs / 4) },
  );
});

test('a peer that is silent is given up by the deadline', () => {
  for (const version of ['1.2', '1.3'] as const) {
    const pair = new TwoCores({ versions: [version], handshakeTimeoutMs: 7000 }, { loss: 1 }).start().run();
    expect(pair.client.error).toMatchObject({ code: 'DTLS_TIMEOUT' });
    expect(pair.server.error).toMatchObject({ code: 'DTLS_TIMEOUT' });
    expect(pair.nowMs).toBe(7000);
    // 100 ms, doubled: 0, 100, 300, 700, 1500, 3100, 6300.
    expect(pair.sent.length).toBe(7);
  }
});
