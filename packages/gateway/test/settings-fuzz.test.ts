import { isClawError } from '@claw/base';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { readSettings } from '../src/settings/index.ts';
import { decodeText } from '../src/settings/json5.ts';
import { editJson5 } from '../src/settings/splice.ts';

const numRuns = Number(process.env['CLAW_FUZZ_RUNS'] ?? 2000);
const SEED_TEXT = `// a node
{
  name: 'desk', relays: ["wss://relay.example"], lan: true,
  policy: { integrity: 'require', minVersion: '0.1.0' /* since */ },
  services: { ssh: { kind: 'tcp', target: '[::1]:22', to: ['${'a'.repeat(52)}',], }, web: { kind: "http", target: "http://a/" } },
  other: { x: [1, 0x1f, .5, -Infinity, NaN, 'it\\'s', "\\u0041\\x41\\
"] },
}
`;

/** Anything but a ClawError of the settings is a crash. */
function take(bytes: Buffer): 'taken' | 'refused' {
  let text: string | undefined;
  try {
    text = decodeText(bytes);
    readSettings(text, '/home');
  } catch (error) {
    if (!isClawError(error, 'SETTINGS_SYNTAX', 'SETTINGS_INVALID')) throw error;
    expect(error.message).toMatch(/^claw\.json:\d+:\d+: /);
    if (error.code === 'SETTINGS_SYNTAX') return 'refused';
  }
  // What parses can be edited, and parses afterwards.
  for (const value of ['x', undefined]) {
    try {
      editJson5(text as string, [
        { path: ['name'], value },
        { path: ['services', 'new', 'to'], value: ['a'] },
      ]);
    } catch (error) {
      if (!isClawError(error, 'SETTINGS_INVALID')) throw error;
    }
  }
  return 'taken';
}

test('random bytes never crash the reader', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
      take(Buffer.from(bytes));
    }),
    { numRuns },
  );
});

test('mutated documents never crash the reader or the editor', () => {
  const seen = { taken: 0, refused: 0 };
  const bit = fc.oneof(
    fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"',
      "'",
      '\\',
      '/',
      '*',
      '\n',
      '\r',
      '\ufeff',
      '\u2028',
      '__proto__:1,',
      '0x',
      '-',
      'null',
      '/*',
      '//',
      '\0',
    ),
    fc.string({ maxLength: 3 }),
  );
  const mutation = fc.record({ at: fc.nat(SEED_TEXT.length), cut: fc.nat(12), bit });
  fc.assert(
    fc.property(fc.array(mutation, { minLength: 1, maxLength: 6 }), (mutations) => {
      let text = SEED_TEXT;
      for (const { at, cut, bit: insert } of mutations) text = text.slice(0, at) + insert + text.slice(at + cut);
      seen[take(Buffer.from(text))] += 1;
    }),
    { numRuns },
  );
  expect(Math.min(seen.taken, seen.refused)).toBeGreaterThan(0);
});

test.each(['[', '{a:', '"', "'", '/*', '//', '\\', '{"a":[', '-', '0', ',', '\u2028', 'a', '"\\', '\\\\'])(
  'a megabyte of %j is answered in time',
  { timeout: 20_000 },
  (part) => {
    const text = part.repeat(Math.floor(2 ** 20 / Buffer.byteLength(part)));
    take(Buffer.from(text));
    take(Buffer.from(`{ a: ${text}`));
    take(Buffer.from(`{ a: "${text}" }`));
  },
);
