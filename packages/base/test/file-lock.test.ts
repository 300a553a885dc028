import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryDirectory } from '@claw/testkit';
import { expect, test } from 'vitest';
import { withFileLock } from '../src/index.ts';

function startHolder(path: string, rounds: string): ChildProcess {
  const script = join(import.meta.dirname, 'lock-holder.ts');
  return spawn(process.execPath, [script, path, rounds], { stdio: ['ignore', 'pipe', 'inherit'] });
}

test('of several processes and callers one at a time is inside', async () => {
  using directory = temporaryDirectory();
  const path = join(directory.path, 'counter');
  writeFileSync(path, '0');
  const holders = Array.from({ length: 4 }, () => startHolder(path, '25'));
  const ends = holders.map((holder) => once(holder, 'exit'));
  const own = Array.from({ length: 20 }, () =>
    withFileLock(path, async () => {
      const before = Number(readFileSync(path, 'utf8'));
      await new Promise((resolve) => setImmediate(resolve));
      writeFileSync(path, String(before + 1));
    }),
  );
  await Promise.all([...own, ...ends]);
  expect(readFileSync(path, 'utf8')).toBe('120');
});

test('the lock of a process that was killed is free at once', async () => {
  using directory = temporaryDirectory();
  const path = join(directory.path, 'file');
  const holder = startHolder(path, 'hold');
  await once(holder.stdout as NodeJS.ReadableStream, 'data');
  const refused = withFileLock(path, () => Promise.resolve('in'), { waitMs: 50 });
  await expect(refused).rejects.toMatchObject({ code: 'FILE_LOCKED' });
  holder.kill('SIGKILL');
  await once(holder, 'exit');
  await expect(withFileLock(path, () => Promise.resolve('in'), { waitMs: 0 })).resolves.toBe('in');
});

test('work that fails gives the lock back and its error on', async () => {
  using directory = temporaryDirectory();
  const path = join(directory.path, 'file');
  await expect(withFileLock(path, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  await expect(withFileLock(path, () => Promise.resolve('in'), { waitMs: 0 })).resolves.toBe('in');
});

test('a folder that does not exist is an error, not a wait', async () => {
  using directory = temporaryDirectory();
  const path = join(directory.path, 'missing', 'file');
  await expect(withFileLock(path, () => Promise.resolve())).rejects.toThrow('unable to open');
});
