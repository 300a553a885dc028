import { randomBytes } from 'node:crypto';
import { carrierCompliance, fuzzRuns } from '@claw/testkit';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type HandCarrier, openHandCarrier, readHandText, writeHandText } from '../src/carriers/hand-carrier.ts';
import { createNode, failureOf } from './support.ts';

const alice = await createNode();
const bob = await createNode();

carrierCompliance(
  'hand',
  async (onEnvelopeAtA, onEnvelopeAtB) => {
    // The people who carry it: each text to whom it is for, a turn later.
    const ends = new Map<string, HandCarrier>();
    const onText = (text: string, to: string) => void setImmediate(() => ends.get(to)?.accept(text));
    const a = openHandCarrier({ onText, onEnvelope: onEnvelopeAtA });
    const b = openHandCarrier({ onText, onEnvelope: onEnvelopeAtB });
    ends.set(alice.nodeId, a).set(bob.nodeId, b);
    const end = (nodeId: typeof alice.nodeId, carrier: HandCarrier) => ({ nodeId, carrier });
    return { a: end(alice.nodeId, a), b: end(bob.nodeId, b), close: async () => {} };
  },
  { lossless: true },
);

describe('hand text', () => {
  const envelope = randomBytes(300);
  const text = writeHandText(envelope);
  const messageOf = async (given: string) => {
    const error = await failureOf(() => readHandText(given));
    expect(error).toMatchObject({ code: 'HAND_TEXT_INVALID' });
    return (error as Error).message;
  };

  it('text is one line of characters that survive mail and chat', () => {
    expect(text).toMatch(/^claw-envelope:[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{6}$/);
  });

  it('text gives the envelope back when it was wrapped, indented, quoted or decorated on its way', () => {
    const wrapped = text.replace(/.{1,60}/g, '$&\r\n');
    const quoted = wrapped.replace(/^/gm, '> > ');
    const invisible = text.replace(/.{20}/g, '$&\u00ad\u200b');
    const capital = text.replace('claw', 'Claw');
    for (const given of [
      wrapped,
      quoted,
      invisible,
      capital,
      `\n  "${text}"\n`,
      `<${text}>`,
      `\`\`\`\n${text}\n\`\`\``,
    ]) {
      expect(readHandText(given).equals(envelope)).toBe(true);
    }
  });

  it('text is refused with what is wrong with it when it is empty, foreign, cut off or altered', async () => {
    expect(await messageOf('')).toMatch(/empty/);
    expect(await messageOf(' \n\t ')).toMatch(/empty/);
    expect(await messageOf('Hello, how are you?')).toMatch(/does not begin with "claw-envelope:"/);
    for (const end of [3, 14, 20, text.length - 8, text.length - 1]) {
      expect(await messageOf(text.slice(0, end))).toMatch(/cut off/);
    }
    const at = 40;
    const altered = text.slice(0, at) + (text[at] === 'A' ? 'B' : 'A') + text.slice(at + 1);
    expect(await messageOf(altered)).toMatch(/altered/);
    expect(await messageOf(text.slice(0, 30) + text.slice(50))).toMatch(/altered/);
    expect(await messageOf(`${text} Regards, Alice`)).toMatch(/follows the end/);
    expect(await messageOf('x'.repeat(1_000_000))).toMatch(/far too long/);
    expect(await messageOf(writeHandText(Buffer.alloc(0)))).toMatch(/nothing/);
  });

  it('text gives back any envelope (fuzz)', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 400 }), (bytes) => {
        expect(readHandText(writeHandText(bytes)).equals(bytes)).toBe(true);
      }),
      { numRuns: fuzzRuns },
    );
  });

  it('text throws nothing but HAND_TEXT_INVALID when it is arbitrary (fuzz)', async () => {
    const spliced = fc.tuple(fc.nat({ max: text.length }), fc.nat({ max: 10 }), fc.string({ unit: 'binary' }));
    const given = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string().map((tail) => `claw-envelope:${tail}`),
      spliced.map(([at, cut, put]) => text.slice(0, at) + put + text.slice(at + cut)),
    );
    await fc.assert(
      fc.asyncProperty(given, async (arbitrary) => {
        try {
          expect(readHandText(arbitrary).equals(envelope)).toBe(true);
        } catch (error) {
          expect(error).toMatchObject({ code: 'HAND_TEXT_INVALID' });
        }
      }),
      { numRuns: fuzzRuns },
    );
  });
});
