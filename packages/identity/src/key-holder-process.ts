/**
 * The key-holder process. It reads the key file, shuts itself off from the
 * network and from other processes, and then answers sign, issue and prove on
 * the channel that it was forked with, until the channel closes.
 */

import { createRequire } from 'node:module';
import { ClawError, errorCode, errorText } from '@claw/base';
import { type NodeId, publicKeyOf } from '@claw/contracts';
import * as v from 'valibot';
import { confine } from './confine.ts';
import { type HolderReply, holderRequestSchema, type OpenReply, openRequestSchema } from './holder-channel.ts';
import { measureRuntime } from './integrity.ts';
import { type Keyring, openKeyFile } from './key-file.ts';
import { NodeKey } from './node-key.ts';

const KEYRING_SERVICE = 'openclaw';

process.once('disconnect', () => process.exit(0));
// The terminal's Ctrl-C reaches the whole group; the node decides when its key goes.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});
process.once('message', (request) => void open(request));

async function open(request: unknown): Promise<void> {
  try {
    const { home, unlock } = v.parse(openRequestSchema, request);
    const keyring = unlock.protection === 'passphrase' ? undefined : loadKeyring();
    const { seed, protection, created } = await openKeyFile(home, unlock, keyring);
    const key = new NodeKey(seed, measureRuntime());
    const confinement = confine();
    process.on('message', (message) => void serve(key, message));
    send({
      opened: {
        publicKey: publicKeyOf(key.nodeId).toString('base64'),
        ...key.facts,
        protection,
        created,
        confinement,
      },
    });
  } catch (error) {
    const hint = error instanceof ClawError ? error.hint : undefined;
    send({ failed: { code: failureCode(error), message: errorText(error), ...(hint && { hint }) } });
    process.disconnect();
  }
}

async function serve(key: NodeKey, message: unknown): Promise<void> {
  const parsed = v.safeParse(holderRequestSchema, message);
  if (!parsed.success) {
    const id = (message as { id?: unknown } | null)?.id;
    if (typeof id === 'number')
      send({ id, error: { code: 'KEY_HOLDER_FAILED', message: 'not a request of the key holder' } });
    return;
  }
  const request = parsed.output;
  try {
    send({
      id: request.id,
      result: (await answer(key, request)).map((bytes) => Buffer.from(bytes).toString('base64')),
    });
  } catch (error) {
    send({ id: request.id, error: { code: failureCode(error), message: errorText(error) } });
  }
}

async function answer(key: NodeKey, request: v.InferOutput<typeof holderRequestSchema>): Promise<Uint8Array[]> {
  switch (request.op) {
    case 'sign':
      return [await key.sign(request.purpose, request.message)];
    case 'issue-leaf':
      return [await key.issueLeaf(request.publicKey, request.lifetimeMs)];
    case 'issue-sealing-key': {
      const { publicKey, privateKey } = await key.issueSealingKey();
      return [publicKey, privateKey];
    }
    case 'prove':
      return [(await key.prove({ ...request, peer: request.peer as NodeId })).signature];
  }
}

function send(message: OpenReply | HolderReply): void {
  if (process.connected) process.send?.(message);
}

function failureCode(error: unknown): string {
  return error instanceof ClawError ? errorCode(error) : 'KEY_HOLDER_FAILED';
}

/** The system's keyring, loaded only when it may be asked; `undefined` where there is none. */
function loadKeyring(): Keyring | undefined {
  let entryClass: typeof import('@napi-rs/keyring').Entry | undefined;
  const entry = (account: string) => {
    entryClass ??= (createRequire(import.meta.url)('@napi-rs/keyring') as typeof import('@napi-rs/keyring')).Entry;
    return new entryClass(KEYRING_SERVICE, account);
  };
  return {
    read: (account) => entry(account).getPassword(),
    write: (account, secret) => entry(account).setPassword(secret),
  };
}
