import { fuzzRuns } from '@claw/testkit';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { splitCommandLine } from '../src/index.ts';

describe('splitCommandLine', () => {
  it.each([
    ['npx -y server /home/me/notes', ['npx', '-y', 'server', '/home/me/notes']],
    ['  a\t b\n', ['a', 'b']],
    [`"a b" 'c "d"' e\\ f`, ['a b', 'c "d"', 'e f']],
    [`a"b"'c'd`, ['abcd']],
    [`'' ""`, ['', '']],
    [String.raw`"a\"b" "c\d" 'e\f'`, ['a"b', String.raw`c\d`, String.raw`e\f`]],
    ['$HOME *.txt `x` | y; z', ['$HOME', '*.txt', '`x`', '|', 'y;', 'z']],
  ])('splits %j as a shell does, and expands nothing', (line, words) => {
    expect(splitCommandLine(line)).toEqual(words);
  });

  it.each(['', ' \t', '"open', "'open", 'end\\'])('refuses %j', (line) => {
    expect(() => splitCommandLine(line)).toThrow(expect.objectContaining({ code: 'SERVICE_INVALID' }));
  });

  it('gives back any words that were quoted, in any of three ways', () => {
    const quotings = [
      (word: string) => `'${word.replaceAll("'", `'\\''`)}'`,
      (word: string) => `"${word.replace(/["\\$`]/g, '\\$&')}"`,
      (word: string) => (word === '' ? "''" : word.replaceAll(/./gsu, '\\$&')),
    ];
    const quoted = fc.tuple(
      fc.string({ unit: 'grapheme' }),
      fc.constantFrom(...quotings),
      fc.constantFrom(' ', '\t', '  ', '\n'),
    );
    fc.assert(
      fc.property(fc.array(quoted, { minLength: 1 }), (parts) => {
        const line = parts.map(([word, quote, gap]) => quote(word) + gap).join('');
        expect(splitCommandLine(line)).toEqual(parts.map(([word]) => word));
      }),
    );
  });

  it('never does anything but split or refuse, whatever it is given (fuzz)', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('"', "'", '\\', ' ', 'a', '$', '`', '\n', '🙂') }), (line) => {
        try {
          expect(splitCommandLine(line).length).toBeGreaterThan(0);
        } catch (error) {
          expect(error).toMatchObject({ code: 'SERVICE_INVALID' });
        }
      }),
      { numRuns: fuzzRuns },
    );
  });
});
