import { fuzzRuns } from '@claw/testkit';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseRelayUrl } from '../src/carriers/relay-url.ts';
import { addressKey, RelayAddresses } from '../src/relay/relay-addresses.ts';
import { DEFAULT_RELAY_LIMITS, resolveRelayLimits } from '../src/relay/relay-limits.ts';
import { decodeClientFrame, decodeRelayFrame, encodeFrame, loginMessage } from '../src/relay/relay-protocol.ts';
import { failureOf } from './support.ts';

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length }).map((b) => Buffer.from(b));
const envelope = fc.uint8Array({ minLength: 1, maxLength: 200 }).map((b) => Buffer.from(b));

describe('relay frames', () => {
  it('frames of clients come back as they were written (fuzz)', () => {
    const frame = fc.oneof(
      fc.record({ type: fc.constant('send' as const), to: bytes(32), envelope }),
      fc.record({ type: fc.constant('login' as const), publicKey: bytes(32), signature: bytes(64) }),
    );
    fc.assert(
      fc.property(frame, (written) => {
        expect(decodeClientFrame(encodeFrame(written))).toEqual(written);
      }),
      { numRuns: fuzzRuns },
    );
  });

  it('frames of relays come back as they were written (fuzz)', () => {
    const frame = fc.oneof(
      fc.record({ type: fc.constant('deliver' as const), envelope }),
      fc.record({ type: fc.constant('absent' as const), to: bytes(32) }),
      fc.record({ type: fc.constant('error' as const), code: fc.stringMatching(/^[a-z0-9-]{1,32}$/) }),
      fc.record({ type: fc.constant('challenge' as const), challenge: bytes(32) }),
      fc.constant({ type: 'ready' as const }),
    );
    fc.assert(
      fc.property(frame, (written) => {
        expect(decodeRelayFrame(encodeFrame(written))).toEqual(written);
      }),
      { numRuns: fuzzRuns },
    );
  });

  it('decoding throws nothing but RELAY_FRAME_MALFORMED when bytes are arbitrary (fuzz)', () => {
    const arbitrary = fc
      .tuple(fc.option(fc.nat({ max: 9 })), fc.uint8Array({ maxLength: 120 }))
      .map(([type, rest]) => Buffer.from(type === null ? rest : [type, ...rest]));
    fc.assert(
      fc.property(arbitrary, (given) => {
        for (const decode of [decodeClientFrame, decodeRelayFrame]) {
          try {
            expect(encodeFrame(decode(given)).equals(given)).toBe(true);
          } catch (error) {
            expect(error).toMatchObject({ code: 'RELAY_FRAME_MALFORMED' });
          }
        }
      }),
      { numRuns: fuzzRuns },
    );
  });

  it('login message differs when the challenge or the dialled host does, and not by the case of the host', () => {
    const challenge = Buffer.alloc(32, 1);
    const message = loginMessage(challenge, 'relay.example.org:443');
    expect(message.equals(loginMessage(challenge, 'Relay.Example.org:443'))).toBe(true);
    expect(message.equals(loginMessage(challenge, 'evil.example.org:443'))).toBe(false);
    expect(message.equals(loginMessage(Buffer.alloc(32, 2), 'relay.example.org:443'))).toBe(false);
  });
});

describe('relay addresses', () => {
  it('address counts as itself in IPv4, and as its /64 in IPv6', () => {
    expect(addressKey('192.0.2.1')).toBe('192.0.2.1');
    expect(addressKey('::ffff:192.0.2.1')).toBe('192.0.2.1');
    expect(addressKey('2001:db8:0:7::1')).toBe('2001:db8:0:7');
    expect(addressKey('2001:db8:0:7:ffff:1:2:3')).toBe('2001:db8:0:7');
    expect(addressKey('2001:db8::')).toBe('2001:db8:0:0');
    expect(addressKey('::1')).toBe('0:0:0:0');
    expect(addressKey('fe80::1%eth0')).toBe('fe80:0:0:0');
  });

  it('addresses are forgotten when they are idle, and never more than the maximum are remembered', () => {
    const addresses = new RelayAddresses(resolveRelayLimits({ maxAddresses: 2 }));
    const first = addresses.admit('192.0.2.1', 0);
    addresses.admit('192.0.2.2', 0);
    expect(addresses.admit('192.0.2.3', 0)).toBeUndefined();
    if (first) addresses.release(first);
    addresses.sweep(60_000);
    expect(addresses.size).toBe(1);
    expect(addresses.admit('192.0.2.3', 60_000)).toBeDefined();
  });

  it('limits throw RangeError when one is misspelt or impossible', () => {
    expect(resolveRelayLimits()).toEqual(DEFAULT_RELAY_LIMITS);
    expect(resolveRelayLimits({ keepAliveMs: 1 }).keepAliveMs).toBe(1);
    expect(() => resolveRelayLimits({ maxConections: 5 } as never)).toThrow(/maxConections/);
    for (const value of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => resolveRelayLimits({ handshakeMs: value })).toThrow(RangeError);
    }
  });
});

describe('relay URL', () => {
  it('URL is refused, with the reason and without its secrets, when it is none for a relay', async () => {
    const wrong = {
      'relay.example.org': /not a URL|begins with/,
      '': /not a URL/,
      'https://relay.example.org': /ws:\/\//,
      'wss://user:hunter2@relay.example.org': /no user name/,
      'wss://relay.example.org/?token=hunter2': /behind/,
      'wss://relay.example.org/#hunter2': /behind/,
    };
    for (const [text, reason] of Object.entries(wrong)) {
      const error = (await failureOf(() => parseRelayUrl(text))) as Error;
      expect(error).toMatchObject({ code: 'RELAY_URL_INVALID', message: expect.stringMatching(reason) });
      expect(error.message).not.toContain('hunter2');
    }
    expect(parseRelayUrl('wss://relay.example.org/path').host).toBe('relay.example.org');
    expect(parseRelayUrl('ws://[::1]:8787').host).toBe('[::1]:8787');
  });
});
