/**
 * `node-key.json` in the node's home: the seed of the node key, encrypted with
 * AES-256-GCM under a key from a passphrase (scrypt, RFC 7914) or from the
 * operating system's keyring, or in the clear under mode 0600 when neither is
 * given. Read and written by the key-holder process alone.
 */

import { createCipheriv, createDecipheriv, randomBytes, scryptSync } from 'node:crypto';
import { join } from 'node:path';
import { ClawError, errorText, makePrivateDirectory, readFileIfPresent, writeFileAtomic } from '@claw/base';
import * as v from 'valibot';
import type { IdentityErrorCode } from './errors.ts';
import { SEED_BYTES } from './node-key.ts';

export type KeyProtection = 'none' | 'passphrase' | 'keyring';

/** What opens or protects the key file. `none` means: leave as it is, or write in the clear when new. */
export type KeyUnlock =
  | { readonly protection: 'none' }
  | { readonly protection: 'passphrase'; readonly passphrase: string }
  | { readonly protection: 'keyring' };

/** Where the operating system keeps one secret for us. */
export interface Keyring {
  read(account: string): string | null;
  write(account: string, secret: string): void;
}

/** OWASP's scrypt setting: 128 MiB for about 0.3 s, once a start. */
const SCRYPT = { N: 2 ** 17, r: 8, p: 1, maxmem: 256 * 1024 * 1024 };
const FILE_VERSION = 1;

const base64 = v.pipe(v.string(), v.base64());
const fileSchema = v.variant('protection', [
  v.strictObject({ version: v.literal(FILE_VERSION), protection: v.literal('none'), seed: base64 }),
  v.strictObject({
    version: v.literal(FILE_VERSION),
    protection: v.literal('passphrase'),
    salt: base64,
    nonce: base64,
    sealed: base64,
  }),
  v.strictObject({
    version: v.literal(FILE_VERSION),
    protection: v.literal('keyring'),
    account: v.string(),
    nonce: base64,
    sealed: base64,
  }),
]);
type KeyFile = v.InferOutput<typeof fileSchema>;

export interface OpenedKey {
  /** The caller wipes it. */
  readonly seed: Buffer;
  readonly protection: KeyProtection;
  readonly created: boolean;
}

/**
 * Reads the seed, or makes one on first start. A file in the clear is encrypted
 * when `unlock` asks for protection.
 * @throws ClawError with an {@link IdentityErrorCode} that starts with `KEY_`.
 */
export async function openKeyFile(home: string, unlock: KeyUnlock, keyring?: Keyring): Promise<OpenedKey> {
  await makePrivateDirectory(home);
  const path = join(home, 'node-key.json');
  const found = await readKeyFile(path);
  if (!found) {
    const seed = randomBytes(SEED_BYTES);
    await save(path, seed, unlock, keyring);
    return { seed, protection: unlock.protection, created: true };
  }
  const seed = unseal(path, found, unlock, keyring);
  if (found.protection === 'none' && unlock.protection !== 'none') {
    await save(path, seed, unlock, keyring);
    return { seed, protection: unlock.protection, created: false };
  }
  return { seed, protection: found.protection, created: false };
}

async function readKeyFile(path: string): Promise<KeyFile | undefined> {
  let content: Buffer | undefined;
  try {
    content = await readFileIfPresent(path);
  } catch (cause) {
    throw fault('KEY_FILE_UNREADABLE', `cannot read ${path}: ${errorText(cause)}`, { cause });
  }
  if (!content) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(content.toString('utf8'));
  } catch {
    value = undefined; // the parser's message may quote the file's content
  } finally {
    content.fill(0);
  }
  const result = v.safeParse(fileSchema, value);
  if (!result.success) {
    throw fault('KEY_FILE_INVALID', `${path} is not a key file of version ${FILE_VERSION}`, {
      hint: 'Put your backup of it back; without it this node needs a new identity in a new home.',
    });
  }
  return result.output;
}

function unseal(path: string, file: KeyFile, unlock: KeyUnlock, keyring: Keyring | undefined): Buffer {
  if (file.protection === 'none') return checkSeed(path, Buffer.from(file.seed, 'base64'));
  const key =
    file.protection === 'passphrase' ? passphraseKey(path, file.salt, unlock) : keyringKey(file.account, keyring);
  try {
    const sealed = Buffer.from(file.sealed, 'base64');
    const decipher = createDecipheriv('aes-256-gcm', key, Buffer.from(file.nonce, 'base64'), { authTagLength: 16 });
    decipher.setAuthTag(sealed.subarray(-16));
    return checkSeed(path, Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()]));
  } catch (cause) {
    if (cause instanceof ClawError) throw cause;
    if (file.protection === 'passphrase') throw fault('KEY_PASSPHRASE_WRONG', `the passphrase does not open ${path}`);
    throw fault('KEY_KEYRING_UNAVAILABLE', `the keyring's entry does not open ${path}`);
  } finally {
    key.fill(0);
  }
}

async function save(path: string, seed: Buffer, unlock: KeyUnlock, keyring: Keyring | undefined): Promise<void> {
  await writeFileAtomic(path, `${JSON.stringify(seal(seed, unlock, keyring), null, 2)}\n`);
}

function seal(seed: Buffer, unlock: KeyUnlock, keyring: Keyring | undefined): KeyFile {
  if (unlock.protection === 'none') return { version: FILE_VERSION, protection: 'none', seed: seed.toString('base64') };
  const nonce = randomBytes(12);
  const salt = randomBytes(16);
  const account = `node-key-${salt.toString('hex')}`;
  const key =
    unlock.protection === 'passphrase'
      ? scryptSync(unlock.passphrase.normalize('NFC'), salt, 32, SCRYPT)
      : newKeyringKey(account, keyring);
  try {
    const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: 16 });
    const sealed = Buffer.concat([cipher.update(seed), cipher.final(), cipher.getAuthTag()]).toString('base64');
    const common = { version: FILE_VERSION, nonce: nonce.toString('base64'), sealed } as const;
    return unlock.protection === 'passphrase'
      ? { ...common, protection: 'passphrase', salt: salt.toString('base64') }
      : { ...common, protection: 'keyring', account };
  } finally {
    key.fill(0);
  }
}

function passphraseKey(path: string, salt: string, unlock: KeyUnlock): Buffer {
  if (unlock.protection !== 'passphrase') {
    throw fault('KEY_PASSPHRASE_REQUIRED', `${path} is protected by a passphrase`, {
      hint: 'Type "claw up" at a terminal, or name a file that holds it in CLAW_PASSPHRASE_FILE.',
    });
  }
  return scryptSync(unlock.passphrase.normalize('NFC'), Buffer.from(salt, 'base64'), 32, SCRYPT);
}

function keyringKey(account: string, keyring: Keyring | undefined): Buffer {
  const secret = readKeyring(() => keyring?.read(account));
  if (!secret) throw fault('KEY_KEYRING_UNAVAILABLE', `the system's keyring has no entry "${account}" for this node`);
  return Buffer.from(secret, 'base64');
}

function newKeyringKey(account: string, keyring: Keyring | undefined): Buffer {
  if (!keyring) throw fault('KEY_KEYRING_UNAVAILABLE', 'this system offers no keyring');
  const key = randomBytes(32);
  readKeyring(() => keyring.write(account, key.toString('base64')));
  return key;
}

function readKeyring<T>(access: () => T): T {
  try {
    return access();
  } catch (cause) {
    throw fault('KEY_KEYRING_UNAVAILABLE', `the system's keyring does not answer: ${errorText(cause)}`, { cause });
  }
}

function checkSeed(path: string, seed: Buffer): Buffer {
  if (seed.length === SEED_BYTES) return seed;
  throw fault('KEY_FILE_INVALID', `${path} holds a seed of ${seed.length} bytes, expected ${SEED_BYTES}`);
}

function fault(code: IdentityErrorCode, message: string, options?: { cause?: unknown; hint?: string }) {
  return new ClawError<IdentityErrorCode>(code, message, options);
}
