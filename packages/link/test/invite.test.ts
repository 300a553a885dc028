import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isClawError } from '@claw/base';
import type { NodeId } from '@claw/contracts';
import { createFakeKeyHolder, fuzzRuns, seededRandom, temporaryDirectory, VirtualClock } from '@claw/testkit';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeInvite, encodeInvite, type Invite, inviteIdOf } from '../src/pairing/invite.ts';
import { InviteBook } from '../src/pairing/invite-book.ts';
import {
  checkIntroduction,
  decodeIntroduction,
  decodeRefusal,
  encodeIntroduction,
  encodeRefusal,
  type MacContext,
  verificationWords,
} from '../src/pairing/pairing-messages.ts';

const random = seededRandom(1);
const keyHolder = createFakeKeyHolder(random);
const stranger = createFakeKeyHolder(random);
const NOW = Date.UTC(2026, 0, 1);
const CONTENT: Omit<Invite, 'inviter'> = {
  sealingKey: random.bytes(32),
  secret: random.bytes(16),
  expiresAtMs: NOW + 600_000,
  name: 'desk',
  relays: ['wss://relay.example/claw'],
};
const text = await encodeInvite(keyHolder, CONTENT);

function codeOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (isClawError(error)) return error.code;
    throw error;
  }
  return 'none';
}

describe('an invite', () => {
  test('reads as it was written, in either case and with any white space', () => {
    const expected = { inviter: keyHolder.nodeId, ...CONTENT };
    for (const form of [text, text.toLowerCase(), ` ${text.match(/.{1,40}/g)?.join('\n  ')}\n`]) {
      const invite = decodeInvite(form, NOW);
      expect({ ...invite, sealingKey: Buffer.from(invite.sealingKey), secret: Buffer.from(invite.secret) }).toEqual(
        expected,
      );
    }
  });

  test('with any one character changed is refused', () => {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
    for (let at = 0; at < text.length; at += 1) {
      const next = alphabet[(alphabet.indexOf(text[at] as string) + 1) % 32] as string;
      for (const replacement of [next, '1', '-']) {
        const altered = text.slice(0, at) + replacement + text.slice(at + 1);
        expect(codeOf(() => decodeInvite(altered, NOW))).toBe(at < 5 ? 'PAIR_INVITE_INVALID' : 'PAIR_INVITE_ALTERED');
      }
    }
  });

  test('cut anywhere or lengthened is refused', () => {
    for (let length = 5; length < text.length; length += 1) {
      expect(codeOf(() => decodeInvite(text.slice(0, length), NOW))).toBe('PAIR_INVITE_ALTERED');
    }
    expect(codeOf(() => decodeInvite(`${text}AA`, NOW))).toBe('PAIR_INVITE_ALTERED');
  });

  test('is good up to its expiry and not at it', () => {
    expect(codeOf(() => decodeInvite(text, CONTENT.expiresAtMs - 1))).toBe('none');
    expect(codeOf(() => decodeInvite(text, CONTENT.expiresAtMs))).toBe('PAIR_INVITE_EXPIRED');
  });

  test('signed by another key than it names is refused', async () => {
    const forged = { ...stranger, nodeId: keyHolder.nodeId, sign: stranger.sign.bind(stranger) };
    expect(codeOf(() => decodeInvite('CLAW:', NOW))).toBe('PAIR_INVITE_ALTERED');
    const signed = await encodeInvite(forged, CONTENT);
    expect(codeOf(() => decodeInvite(signed, NOW))).toBe('PAIR_INVITE_ALTERED');
  });

  test('of any text is refused, and nothing else happens (fuzz)', () => {
    const foreign = fc.oneof(
      fc.string(),
      fc.string().map((rest) => `CLAW:${rest}`),
      fc.string({ unit: 'binary' }),
    );
    fc.assert(
      fc.property(foreign, (any) => {
        expect(codeOf(() => decodeInvite(any, NOW))).toMatch(/^PAIR_INVITE_(INVALID|ALTERED)$/);
      }),
      { numRuns: fuzzRuns },
    );
  });

  test('of huge text is refused unread', () => {
    expect(codeOf(() => decodeInvite(`CLAW:${'A'.repeat(10_000_000)}`, NOW))).toBe('PAIR_INVITE_INVALID');
  });
});

describe('an invite book', () => {
  const secret = CONTENT.secret as Buffer;
  const [ada, bob] = [keyHolder.nodeId, stranger.nodeId];
  const open = async (path: string, clock = new VirtualClock()) => ({
    clock,
    book: await InviteBook.open(path, clock, (detail) => {
      throw new Error(detail);
    }),
  });
  const look = (book: InviteBook, who: NodeId, what = secret) => codeOf(() => book.look(inviteIdOf(what), who));

  test('knows an invite until it expires, also after a restart, and then says so for an hour', async () => {
    using home = temporaryDirectory();
    const { book, clock } = await open(home.path);
    await book.add(secret, clock.now() + 1000, 'laptop');
    expect(book.look(inviteIdOf(secret), ada)).toMatchObject({ name: 'laptop' });
    const { book: again } = await open(home.path, clock);
    expect(look(again, ada)).toBe('none');
    await clock.advance(1000);
    expect(look(again, ada)).toBe('PAIR_INVITE_EXPIRED');
    await clock.advance(3_600_000);
    await again.add(random.bytes(16), clock.now() + 1);
    expect(look(again, ada)).toBe('PAIR_INVITE_UNKNOWN');
  });

  test('admits one node, which may repeat itself, also after a restart', async () => {
    using home = temporaryDirectory();
    const { book, clock } = await open(home.path);
    await book.add(secret, clock.now() + 1000);
    await book.use(secret, ada);
    const { book: again } = await open(home.path, clock);
    expect(look(again, ada)).toBe('none');
    expect(look(again, bob)).toBe('PAIR_INVITE_USED');
    await expect(again.use(secret, bob)).rejects.toMatchObject({ code: 'PAIR_INVITE_USED' });
    await expect(again.use(secret, ada)).resolves.toBeUndefined();
    await again.forget(ada);
    expect(look(again, ada)).toBe('PAIR_INVITE_UNKNOWN');
    await expect(again.use(secret, ada)).rejects.toMatchObject({ code: 'PAIR_INVITE_UNKNOWN' });
  });

  test('lets exactly one of two win that use an invite at once', async () => {
    using home = temporaryDirectory();
    const { book, clock } = await open(home.path);
    await book.add(secret, clock.now() + 1000);
    const outcomes = await Promise.allSettled([book.use(secret, ada), book.use(secret, bob)]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
    expect(look(book, ada)).toBe('none');
    expect(look(book, bob)).toBe('PAIR_INVITE_USED');
  });

  test('holds 64 invites and lets the oldest go first', async () => {
    using home = temporaryDirectory();
    const { book, clock } = await open(home.path);
    const secrets = Array.from({ length: 65 }, () => random.bytes(16));
    for (const one of secrets) await book.add(one, clock.now() + 1000);
    expect(look(book, ada, secrets[0])).toBe('PAIR_INVITE_UNKNOWN');
    expect(look(book, ada, secrets[1])).toBe('none');
    expect(look(book, ada, secrets[64])).toBe('none');
  });

  test('with a broken file begins anew and says so', async () => {
    using home = temporaryDirectory();
    await writeFile(join(home.path, 'invites.json'), '{ "version": 1');
    const told: string[] = [];
    const book = await InviteBook.open(home.path, new VirtualClock(), (detail) => told.push(detail));
    expect(told).toHaveLength(1);
    await book.add(secret, NOW + 1e9);
    expect(JSON.parse(await readFile(join(home.path, 'invites.json'), 'utf8')).invites).toHaveLength(1);
  });
});

describe('a pairing message', () => {
  const body = {
    invite: inviteIdOf(CONTENT.secret),
    name: 'desk',
    sealingKey: CONTENT.sealingKey,
    relays: ['wss://r.example'],
  };
  const context: MacContext = {
    kind: 'pair.request',
    secret: CONTENT.secret,
    from: keyHolder.nodeId,
    to: stranger.nodeId,
  };
  const { bytes, mac } = encodeIntroduction(context, body);

  test('holds in its own context and in no other', () => {
    const read = decodeIntroduction(bytes);
    expect(checkIntroduction(context, read)).toBe(true);
    const others: Partial<MacContext>[] = [
      { kind: 'pair.accept' },
      { secret: random.bytes(16) },
      { from: stranger.nodeId },
      { to: keyHolder.nodeId },
      { answers: random.bytes(32) },
    ];
    for (const change of others) expect(checkIntroduction({ ...context, ...change }, read)).toBe(false);
    for (const change of [
      { name: 'desl' },
      { relays: [] },
      { sealingKey: random.bytes(32) },
      { invite: random.bytes(8) },
    ]) {
      expect(checkIntroduction(context, { ...read, ...change })).toBe(false);
    }
  });

  test('with any byte overwritten never passes for the original (fuzz)', () => {
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), fc.nat(3), (at, change, cut) => {
        const altered = Buffer.from(bytes.subarray(0, bytes.length - cut));
        const index = at % altered.length;
        altered[index] = (altered[index] as number) ^ change;
        try {
          expect(checkIntroduction(context, decodeIntroduction(altered))).toBe(false);
        } catch (error) {
          if (!isClawError(error, 'WIRE_MALFORMED')) throw error;
        }
      }),
      { numRuns: fuzzRuns },
    );
  });

  test('of any bytes is read or refused (fuzz)', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (any) => {
        for (const decode of [decodeIntroduction, decodeRefusal]) {
          expect(codeOf(() => decode(any))).toMatch(/^(none|WIRE_MALFORMED)$/);
        }
      }),
      { numRuns: fuzzRuns },
    );
    expect(codeOf(() => decodeRefusal(Buffer.alloc(4097)))).toBe('WIRE_TOO_LARGE');
  });

  test('of refusal reads as it was written', () => {
    const refusal = { invite: Buffer.alloc(8, 1), code: 'PAIR_INVITE_USED' as const, message: 'used' };
    expect(decodeRefusal(encodeRefusal(refusal))).toMatchObject({ code: 'PAIR_INVITE_USED', message: 'used' });
  });

  test('makes four words that change with the secret and with either mac', () => {
    const words = verificationWords(CONTENT.secret, mac, Buffer.alloc(32));
    expect(words).toMatch(/^[a-z]+ [a-z]+ [a-z]+ [a-z]+$/);
    expect(verificationWords(random.bytes(16), mac, Buffer.alloc(32))).not.toBe(words);
    expect(verificationWords(CONTENT.secret, Buffer.alloc(32), Buffer.alloc(32))).not.toBe(words);
    expect(verificationWords(CONTENT.secret, mac, mac)).not.toBe(words);
  });
});
