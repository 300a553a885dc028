/** A peer that has all keys and breaks the rules: it leaves out, doubles, moves and alters its own messages. */

import { fuzzRuns } from '@claw/testkit';
import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Handshake } from '../src/handshake.ts';
import type { Role } from '../src/index.ts';
import { handshakeType } from '../src/registry.ts';
import { type CoreOptions, identityOf, TwoCores } from './two-cores.ts';

type Queue = (type: number, body: Buffer, epoch: number) => void;
type Misbehaviour = (index: number, type: number, body: Buffer, epoch: number, queue: Queue) => void;

const coded = expect.stringMatching(/^DTLS_/);

/** Runs a handshake in which every message that `role` queues goes through `misbehave`. */
function runWith(role: Role, options: CoreOptions, misbehave: Misbehaviour): TwoCores {
  let index = 0;
  const original = Handshake.prototype.queue;
  vi.spyOn(Handshake.prototype, 'queue').mockImplementation(function (this: Handshake, type, body, epoch) {
    const queue = original.bind(this);
    if (this.options.role === role) misbehave(index++, type, body, epoch, queue);
    else queue(type, body, epoch);
  });
  const server = options.cookie === undefined ? {} : { cookie: options.cookie };
  return new TwoCores({ ...options, handshakeTimeoutMs: 5000 }, {}, {}, server).start().run(20_000);
}

function messagesOf(role: Role, options: CoreOptions): number[] {
  const types: number[] = [];
  const pair = runWith(role, options, (_index, type, body, epoch, queue) => {
    types.push(type);
    queue(type, body, epoch);
  });
  vi.restoreAllMocks();
  expect(pair.bothConnected).toBe(true);
  return types;
}

afterEach(() => void vi.restoreAllMocks());

const worlds = (['1.2', '1.3'] as const).flatMap((version) =>
  [false, true].flatMap((cookie) =>
    (['client', 'server'] as const).map((role) => ({
      version,
      cookie,
      role,
      options: { versions: [version], cookie },
    })),
  ),
);

describe.each(worlds)('a $role of DTLS $version, cookie $cookie', ({ role, options }) => {
  const victimOf = (pair: TwoCores) => pair.core(role === 'client' ? 'server' : 'client');

  test('that leaves out any message never gets through', () => {
    messagesOf(role, options).forEach((_, victimIndex) => {
      const pair = runWith(role, options, (index, type, body, epoch, queue) => {
        if (index !== victimIndex) queue(type, body, epoch);
      });
      expect(victimOf(pair).wasConnected).toBe(false);
      expect(victimOf(pair).error?.code).toEqual(coded);
      vi.restoreAllMocks();
    });
  });

  test('that says any message twice never gets through, but for the last', () => {
    messagesOf(role, options).forEach((doubled, victimIndex) => {
      const pair = runWith(role, options, (index, type, body, epoch, queue) => {
        queue(type, body, epoch);
        if (index === victimIndex) queue(type, body, epoch);
      });
      if (doubled !== handshakeType.finished) {
        expect(victimOf(pair).wasConnected && pair.bothConnected).toBe(false);
        expect([pair.client.error?.code, pair.server.error?.code]).toContainEqual(coded);
      }
      vi.restoreAllMocks();
    });
  });

  test('that moves any message behind the next never gets through', () => {
    messagesOf(role, options).forEach((_, victimIndex) => {
      let held: Parameters<Queue> | undefined;
      const pair = runWith(role, options, (index, type, body, epoch, queue) => {
        if (index === victimIndex) {
          held = [type, body, epoch];
          return;
        }
        queue(type, body, epoch);
        if (held) queue(...held);
        held = undefined;
      });
      expect(victimOf(pair).wasConnected).toBe(false);
      expect(victimOf(pair).error?.code).toEqual(coded);
      vi.restoreAllMocks();
    });
  });

  test('that alters any message gets through only if both saw the same (fuzz)', () => {
    const count = messagesOf(role, options).length;
    fc.assert(
      fc.property(fc.nat(count - 1), fc.nat(2 ** 20), fc.integer({ min: 1, max: 255 }), (victimIndex, at, flip) => {
        let type = -1;
        const pair = runWith(role, options, (index, messageType, body, epoch, queue) => {
          const altered = Buffer.from(body);
          if (index === victimIndex && body.length > 0) {
            type = messageType;
            altered[at % body.length] = (altered[at % body.length] as number) ^ flip;
          }
          queue(messageType, altered, epoch);
        });
        vi.restoreAllMocks();
        for (const core of [pair.client, pair.server]) if (core.error) expect(core.error.code).toEqual(coded);
        const proofs: number[] = [handshakeType.finished, handshakeType.certificateVerify, handshakeType.certificate];
        if (proofs.includes(type)) expect(victimOf(pair).wasConnected).toBe(false);
        if (!pair.bothConnected) return;
        const keys = [pair.client, pair.server].map((core) => core.connection.exportKeyingMaterial('l', 16));
        expect(keys[0]).toEqual(keys[1]);
        expect(pair.client.connection.negotiated?.version).toBe(pair.server.connection.negotiated?.version);
      }),
      { numRuns: Math.ceil(fuzzRuns / 25) },
    );
  });
});

describe.each(['1.2', '1.3'] as const)('DTLS %s', (version) => {
  test.each(['client', 'server'] as const)('a %s with the announced certificate and another key is refused', (role) => {
    const identity = { ...identityOf('thief') };
    const pair = new TwoCores({ versions: [version] }, {}, ...sided(role, { identity }));
    // The certificate is public: anybody can present it.
    Object.assign(identity, { certificate: identityOf(role).certificate });
    pair.start().run(40_000);
    const victim = pair.core(role === 'client' ? 'server' : 'client');
    expect(victim.wasConnected).toBe(false);
    expect(victim.error).toMatchObject({ code: 'DTLS_SIGNATURE_INVALID' });
    expect(pair.core(role).error).toMatchObject({ code: 'DTLS_PEER_ALERT' });
  });

  test.each(['client', 'server'] as const)('a %s with another certificate is refused', (role) => {
    const pair = new TwoCores({ versions: [version] }, {}, ...sided(role, { identity: identityOf('stranger') }));
    pair.start().run(40_000);
    const victim = pair.core(role === 'client' ? 'server' : 'client');
    expect(victim.wasConnected).toBe(false);
    expect(victim.error).toMatchObject({ code: 'DTLS_FINGERPRINT_MISMATCH' });
    expect(pair.core(role).received).toEqual([]);
  });

  test.each(['client', 'server'] as const)('late fingerprints that do not match end the %s', (role) => {
    const pair = new TwoCores(
      { versions: [version] },
      {},
      ...sided(role, { remoteFingerprints: undefined as never }),
    ).start();
    pair.run(3000);
    pair.core(role).connection.setRemoteFingerprints([identityOf('stranger').fingerprint], 3000);
    pair.run(40_000);
    expect(pair.core(role).wasConnected).toBe(false);
    expect(pair.core(role).error).toMatchObject({ code: 'DTLS_FINGERPRINT_MISMATCH' });
  });
});

function sided(role: Role, options: CoreOptions): [CoreOptions, CoreOptions] {
  return role === 'client' ? [options, {}] : [{}, options];
}
