import { VirtualClock } from '@claw/testkit';
import { expect, test } from 'vitest';
import { createLogger, silentLogger } from '../src/index.ts';

function collect(level?: 'debug' | 'warn') {
  const lines: unknown[] = [];
  const clock = new VirtualClock({ nowMs: Date.UTC(2026, 0, 2) });
  const log = createLogger({ write: (line) => lines.push(JSON.parse(line)), clock, ...(level ? { level } : {}) });
  return { lines, log };
}

test('a line is one JSON object with time, level, event and fields', () => {
  const { lines, log } = collect();
  log.info('link.up', { peer: 'abc', rttMs: 3, gone: undefined });
  expect(lines).toEqual([{ time: '2026-01-02T00:00:00.000Z', level: 'info', event: 'link.up', peer: 'abc', rttMs: 3 }]);
});

test('bound fields are on every line, and a line may overrule them', () => {
  const { lines, log } = collect();
  const bound = log.with({ a: 1, b: 1 }).with({ b: 2 });
  bound.error('x');
  bound.error('y', { a: 3 });
  expect(lines).toMatchObject([
    { a: 1, b: 2 },
    { a: 3, b: 2 },
  ]);
});

test.each([
  [undefined, ['info', 'warn', 'error']],
  ['debug', ['debug', 'info', 'warn', 'error']],
  ['warn', ['warn', 'error']],
] as const)('level %s lets %j through', (level, expected) => {
  const { lines, log } = collect(level);
  for (const write of [log.debug, log.info, log.warn, log.error]) write('event');
  expect(lines.map((line) => (line as { level: string }).level)).toEqual(expected);
});

test('a line break in a field does not break the line', () => {
  const written: string[] = [];
  createLogger({ write: (line) => written.push(line) }).info('x', { text: 'a\nb\u2028c' });
  expect(written).toHaveLength(1);
  expect(written[0]).not.toContain('\n');
});

test('the silent logger takes every call', () => {
  expect(() => silentLogger.with({ a: 1 }).error('x')).not.toThrow();
});
