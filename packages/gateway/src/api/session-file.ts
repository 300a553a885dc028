/**
 * `run/gateway.json` in the node's home: where the daemon listens and the token of
 * this start. Whoever can read it may do what the node's owner may; mode 0600.
 */

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isProcessAlive, makePrivateDirectory, readFileIfPresent, writeFileAtomic } from '@claw/base';
import * as v from 'valibot';
import { apiError } from './errors.ts';
import { TOKEN_BYTES } from './request-auth.ts';

export interface GatewaySession {
  readonly port: number;
  /** 32 bytes. */
  readonly token: Uint8Array;
  readonly pid: number;
  /** Milliseconds since 1970-01-01 UTC. */
  readonly startedAt: number;
  /** Of the daemon. */
  readonly version: string;
}

const sessionSchema = v.object({
  port: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_535)),
  token: v.pipe(
    v.string(),
    v.regex(/^[A-Za-z0-9_-]{43}$/),
    v.transform((text) => Buffer.from(text, 'base64url')),
  ),
  pid: v.pipe(v.number(), v.integer(), v.minValue(1)),
  startedAt: v.number(),
  version: v.string(),
});

const START_HINT = 'Start the node first.';

/** Publishes the session until it is disposed of. The caller holds the home's lock. */
export async function openSessionFile(home: string, session: GatewaySession): Promise<AsyncDisposable> {
  if (session.token.length !== TOKEN_BYTES)
    throw new RangeError(`a session token has ${TOKEN_BYTES} bytes, got ${session.token.length}`);
  const path = sessionPath(home);
  const text = JSON.stringify({ ...session, token: Buffer.from(session.token).toString('base64url') });
  await makePrivateDirectory(join(home, 'run'));
  await writeFileAtomic(path, `${text}\n`);
  return {
    async [Symbol.asyncDispose]() {
      // A later daemon's file is not ours to remove.
      if ((await readFileIfPresent(path))?.toString() === `${text}\n`) await rm(path, { force: true });
    },
  };
}

/** The session of the daemon that runs now. @throws ClawError `GATEWAY_UNREACHABLE` when none does. */
export async function readSession(home: string): Promise<GatewaySession> {
  const bytes = await readFileIfPresent(sessionPath(home));
  if (!bytes) throw apiError('GATEWAY_UNREACHABLE', `no node runs in ${home}`, { hint: START_HINT });
  const session = parseSession(bytes.toString());
  if (!session)
    throw apiError('GATEWAY_UNREACHABLE', `${sessionPath(home)} is not a session file`, { hint: 'Restart the node.' });
  if (!isProcessAlive(session.pid)) {
    throw apiError('GATEWAY_UNREACHABLE', `the node in ${home} (process ${session.pid}) has ended without closing`, {
      hint: START_HINT,
    });
  }
  return session;
}

function parseSession(text: string): GatewaySession | undefined {
  try {
    return v.parse(sessionSchema, JSON.parse(text));
  } catch {
    return undefined;
  }
}

function sessionPath(home: string): string {
  return join(home, 'run', 'gateway.json');
}
