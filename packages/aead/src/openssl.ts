/**
 * The OpenSSL inside Node.js by its own calls, through `koffi`, which is optional: a
 * program that seals little never loads it, and where it is missing, or Node.js does
 * not show these calls, `openssl()` stays undefined.
 */

import { createCipheriv } from 'node:crypto';
import { EvpBlocks, type EvpCalls, type EvpContext, EvpOpener, EvpSealer } from './evp.ts';
import { AEAD_NONCE_BYTES, AEAD_TAG_BYTES } from './sizes.ts';

export interface Openssl {
  readonly sealers: PerAead<EvpSealer>;
  readonly openers: PerAead<EvpOpener>;
  readonly blocks: { readonly 'aes-128-ecb': EvpBlocks; readonly 'aes-256-ecb': EvpBlocks };
}

interface PerAead<T> {
  readonly 'aes-128-gcm': T;
  readonly 'aes-256-gcm': T;
  readonly 'chacha20-poly1305': T;
}

/** So often keys are used before koffi, which takes ten milliseconds to load, is worth it. */
const USES_BEFORE_LOADING = 200;

let uses = 0;
let loading: Promise<boolean> | undefined;
let loaded: Openssl | undefined;

/** Undefined until it is worth its loading, and where it cannot be had. */
export function openssl(): Openssl | undefined {
  if (!loaded && !loading) {
    uses += 1;
    if (uses > USES_BEFORE_LOADING) void loadOpenssl();
  }
  return loaded;
}

/** Loads it now, for who knows that there will be much to seal. False where it cannot be had. */
export function loadOpenssl(): Promise<boolean> {
  loading ??= load();
  return loading;
}

/** Clears what contexts hold of `key`. */
export function forget(key: Uint8Array): void {
  if (!loaded) return;
  const contexts: EvpContext[] = [loaded.sealers, loaded.openers, loaded.blocks].flatMap((each) => Object.values(each));
  for (const context of contexts) context.forget(key);
}

async function load(): Promise<boolean> {
  try {
    const { default: koffi } = await import('koffi');
    const node = koffi.load(null);
    const calls: EvpCalls = {
      newContext: node.func('void *EVP_CIPHER_CTX_new()'),
      init: node.func(
        'int EVP_CipherInit_ex(void *c, void *cipher, void *e, const uint8_t *key, const uint8_t *iv, int enc)',
      ),
      setPadding: node.func('int EVP_CIPHER_CTX_set_padding(void *c, int padding)'),
      update: node.func('int EVP_CipherUpdate(void *c, uint8_t *out, int *written, const uint8_t *in, int length)'),
      final: node.func('int EVP_CipherFinal_ex(void *c, uint8_t *out, int *written)'),
      control: node.func('int EVP_CIPHER_CTX_ctrl(void *c, int type, int length, uint8_t *bytes)'),
      reset: node.func('int EVP_CIPHER_CTX_reset(void *c)'),
    };
    const cipher = (name: string): unknown => node.func(`void *EVP_${name}()`)();
    const perAead = <T>(make: (cipher: unknown) => T): PerAead<T> => ({
      'aes-128-gcm': make(cipher('aes_128_gcm')),
      'aes-256-gcm': make(cipher('aes_256_gcm')),
      'chacha20-poly1305': make(cipher('chacha20_poly1305')),
    });
    const native: Openssl = {
      sealers: perAead((each) => new EvpSealer(calls, each, 'seal')),
      openers: perAead((each) => new EvpOpener(calls, each, 'open')),
      blocks: {
        'aes-128-ecb': new EvpBlocks(calls, cipher('aes_128_ecb'), 'seal'),
        'aes-256-ecb': new EvpBlocks(calls, cipher('aes_256_ecb'), 'seal'),
      },
    };
    if (doesAgree(native)) loaded = native;
  } catch {
    // It is optional.
  }
  return loaded !== undefined;
}

/** Whether it does what node:crypto does: a runtime may show other calls under these names. */
function doesAgree({ sealers, openers }: Openssl): boolean {
  return (['aes-128-gcm', 'aes-256-gcm', 'chacha20-poly1305'] as const).every((algorithm) => {
    const key = Buffer.alloc(algorithm === 'aes-128-gcm' ? 16 : 32, 1);
    const nonce = Buffer.alloc(AEAD_NONCE_BYTES, 2);
    const text = Buffer.from('what both must seal alike');
    const cipher = createCipheriv(algorithm as 'aes-128-gcm', key, nonce, {
      authTagLength: AEAD_TAG_BYTES,
    });
    cipher.setAAD(nonce);
    const expected = Buffer.concat([cipher.update(text), cipher.final(), cipher.getAuthTag()]);
    const sealed = Buffer.alloc(expected.length);
    sealers[algorithm].seal(key, nonce, nonce, text, sealed, 0);
    const isSealedAlike = sealed.equals(expected);
    const isOpened = openers[algorithm].open(key, nonce, nonce, sealed);
    return isSealedAlike && isOpened && sealed.subarray(0, text.length).equals(text);
  });
}
