import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryDirectory } from '@claw/testkit';
import { expect, test } from 'vitest';
import { makePrivateDirectory, readFileIfPresent, writeFileAtomic } from '../src/index.ts';

test('a written file holds the content, is its owner’s alone, and no other file is left', async () => {
  using directory = temporaryDirectory();
  const path = join(directory.path, 'file');
  await writeFileAtomic(path, 'one');
  chmodSync(path, 0o644);
  await writeFileAtomic(path, new Uint8Array([50]));
  expect(readFileSync(path, 'utf8')).toBe('2');
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(readdirSync(directory.path)).toEqual(['file']);
});

test('a write that fails keeps what was there and leaves no temporary file', async () => {
  using directory = temporaryDirectory();
  const path = join(directory.path, 'file');
  mkdirSync(join(path, 'inside'), { recursive: true });
  await expect(writeFileAtomic(path, 'x')).rejects.toThrow('EISDIR');
  expect(readdirSync(directory.path)).toEqual(['file']);
});

test('many writers at once leave the content of one of them whole', async () => {
  using directory = temporaryDirectory();
  const path = join(directory.path, 'file');
  const contents = Array.from({ length: 16 }, (_, index) => String(index).repeat(50_000));
  await Promise.all(contents.map((content) => writeFileAtomic(path, content)));
  expect(contents).toContain(readFileSync(path, 'utf8'));
  expect(readdirSync(directory.path)).toEqual(['file']);
});

test('reading gives the bytes, undefined for a missing file, and any other fault', async () => {
  using directory = temporaryDirectory();
  const path = join(directory.path, 'file');
  expect(await readFileIfPresent(path)).toBeUndefined();
  writeFileSync(path, 'abc');
  expect((await readFileIfPresent(path))?.toString()).toBe('abc');
  await expect(readFileIfPresent(directory.path)).rejects.toMatchObject({ code: 'EISDIR' });
});

test('a private directory and its parents are made once, for the owner alone', async () => {
  using directory = temporaryDirectory();
  const path = join(directory.path, 'a', 'b');
  await makePrivateDirectory(path);
  await makePrivateDirectory(path);
  expect(statSync(path).mode & 0o777).toBe(0o700);
  expect(statSync(join(directory.path, 'a')).mode & 0o777).toBe(0o700);
});
