import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isClawError } from '@claw/base';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Keyring, openKeyFile } from '../src/key-file.ts';

describe('key file', () => {
  let home: string;
  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'claw-key-'));
  });
  afterEach(() => rm(home, { recursive: true, force: true }));

  const codeOf = async (work: Promise<unknown>): Promise<string> =>
    work.then(
      () => 'nothing thrown',
      (error: unknown) => (isClawError(error) ? error.code : String(error)),
    );

  test('makes a seed on first start and gives the same one after', async () => {
    const first = await openKeyFile(home, { protection: 'none' });
    const second = await openKeyFile(home, { protection: 'none' });
    expect(first.created).toBe(true);
    expect(second.created).toBe(false);
    expect(second.seed.equals(first.seed)).toBe(true);
  });

  test('is readable by its owner only', async () => {
    await openKeyFile(home, { protection: 'none' });
    expect((await stat(join(home, 'node-key.json'))).mode & 0o777).toBe(0o600);
  });

  test('opens with its passphrase and with no other', async () => {
    const made = await openKeyFile(home, { protection: 'passphrase', passphrase: 'correct horse' });
    const opened = await openKeyFile(home, { protection: 'passphrase', passphrase: 'correct horse' });
    expect(opened.seed.equals(made.seed)).toBe(true);
    expect(await codeOf(openKeyFile(home, { protection: 'passphrase', passphrase: 'wrong' }))).toBe(
      'KEY_PASSPHRASE_WRONG',
    );
    expect(await codeOf(openKeyFile(home, { protection: 'none' }))).toBe('KEY_PASSPHRASE_REQUIRED');
  });

  test('in the clear is encrypted once a passphrase is given', async () => {
    const clear = await openKeyFile(home, { protection: 'none' });
    await openKeyFile(home, { protection: 'passphrase', passphrase: 'later' });
    const text = await readFile(join(home, 'node-key.json'), 'utf8');
    expect(text).not.toContain(clear.seed.toString('base64'));
    expect(await codeOf(openKeyFile(home, { protection: 'none' }))).toBe('KEY_PASSPHRASE_REQUIRED');
  });

  test('under a keyring holds nothing that opens without the keyring', async () => {
    const secrets = new Map<string, string>();
    const keyring: Keyring = {
      read: (account) => secrets.get(account) ?? null,
      write: (account, secret) => void secrets.set(account, secret),
    };
    const made = await openKeyFile(home, { protection: 'keyring' }, keyring);
    const opened = await openKeyFile(home, { protection: 'none' }, keyring);
    expect(opened.seed.equals(made.seed)).toBe(true);
    secrets.clear();
    expect(await codeOf(openKeyFile(home, { protection: 'keyring' }, keyring))).toBe('KEY_KEYRING_UNAVAILABLE');
    expect(await codeOf(openKeyFile(home, { protection: 'keyring' }))).toBe('KEY_KEYRING_UNAVAILABLE');
  });

  test.each([
    ['nothing', ''],
    ['no JSON', '{"version":1,'],
    ['another version', '{"version":2,"protection":"none","seed":"AAAA"}'],
    ['a short seed', '{"version":1,"protection":"none","seed":"AAAA"}'],
    ['a field too many', '{"version":1,"protection":"none","seed":"AAAA","x":1}'],
  ])('with %s in it is refused and left alone', async (_, content) => {
    const path = join(home, 'node-key.json');
    await writeFile(path, content);
    expect(await codeOf(openKeyFile(home, { protection: 'none' }))).toBe('KEY_FILE_INVALID');
    expect(await readFile(path, 'utf8')).toBe(content);
  });

  test('errors never quote the file', async () => {
    const path = join(home, 'node-key.json');
    await writeFile(path, '{"version":1,"protection":"none","seed":"c2VjcmV0LXNlY3JldA==" oops');
    const refusal = openKeyFile(home, { protection: 'none' });
    const text = await refusal.then(
      () => '',
      (thrown: Error) => thrown.message,
    );
    expect(text).not.toContain('c2VjcmV0');
  });
});
