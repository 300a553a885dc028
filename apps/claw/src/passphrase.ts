/** Where a passphrase comes from: a file that CLAW_PASSPHRASE_FILE names, or the person at the terminal. */

import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { ClawError, errorText } from '@claw/base';
import type { KeyUnlock } from '@claw/identity';

/** What the environment offers to open the node key with. */
export function readPassphraseFile(): KeyUnlock | undefined {
  const path = process.env['CLAW_PASSPHRASE_FILE'];
  if (!path) return undefined;
  try {
    return { protection: 'passphrase', passphrase: readFileSync(path, 'utf8').replace(/\r?\n$/, '') };
  } catch (cause) {
    throw new ClawError(
      'KEY_PASSPHRASE_REQUIRED',
      `the file in CLAW_PASSPHRASE_FILE cannot be read: ${errorText(cause)}`,
      { cause },
    );
  }
}

/** Asks at the terminal, without showing what is typed. @throws ClawError when there is no terminal. */
export async function askPassphrase(question: string, signal: AbortSignal): Promise<string> {
  if (!process.stdin.isTTY) {
    throw new ClawError('KEY_PASSPHRASE_REQUIRED', 'a passphrase is needed and there is no terminal to ask at', {
      hint: 'Name a file that holds it in CLAW_PASSPHRASE_FILE.',
    });
  }
  process.stderr.write(question);
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const reader = createInterface({ input: process.stdin, output: silent, terminal: true });
  try {
    return await new Promise<string>((resolve, reject) => {
      reader.question('', { signal }, resolve);
      reader.once('SIGINT', () => reject(new ClawError('INTERRUPTED', 'interrupted')));
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
  } finally {
    reader.close();
    process.stderr.write('\n');
  }
}
