/**
 * Sends one file to a peer: hash first, then the bytes that the peer lacks. When
 * the link breaks it waits for the next one and goes on; when the node was killed,
 * sending the same file again goes on from what arrived.
 */

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { ClawError, errorCode, errorText, type Logger } from '@claw/base';
import type { PeerRecord } from '@claw/identity';
import type { LinkErrorCode, LinkKeeper, LinkStream } from '@claw/link';
import { nodeError } from '../errors.ts';
import { SEND_SERVICE } from '../services/protocol.ts';
import { decodeAccept, decodeResult, encodeOffer, type SendResult } from './transfer-protocol.ts';

export interface SendFileOptions {
  readonly keeper: LinkKeeper;
  readonly peer: PeerRecord;
  /** Absolute path. */
  readonly path: string;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: SendProgress) => void;
  readonly logger: Logger;
}

export interface SendProgress {
  readonly phase: 'hashing' | 'sending' | 'waiting';
  readonly name: string;
  /** Bytes hashed, or bytes that the peer holds or that are on their way. */
  readonly done: number;
  readonly size: number;
  /** Bytes that the peer held already when this run began. */
  readonly resumedAt?: number;
}

export interface SentFile {
  readonly name: string;
  readonly size: number;
  readonly sha256: string;
  /** The name under which the peer keeps it. */
  readonly storedAs: string;
  readonly resumedAt: number;
}

interface FileFacts {
  readonly name: string;
  readonly size: number;
  readonly modifiedMs: number;
  readonly sha256: Buffer;
}

/** How long a transfer waits for the next link before it gives up. */
const LINK_WAIT_MS = 60_000;
const MAX_RESULT_BYTES = 4096;
const READ_BYTES = 256 * 1024;
/** Ends of a link that the next link can mend. */
const MENDABLE: readonly string[] = [
  'LINK_LOST',
  'LINK_SUPERSEDED',
  'LINK_SHUTDOWN',
  'LINK_CLOSED',
  'LINK_CLOSED_BY_PEER',
  'STREAM_RESET',
] satisfies LinkErrorCode[];
const MAX_BROKEN_RUNS = 20;

/** @throws ClawError with a code that starts with `SEND_`, `STREAM_` or `LINK_`. */
export async function sendFile(options: SendFileOptions): Promise<SentFile> {
  const file = await inspect(options);
  let restarted = false;
  let broken = 0;
  let held = 0;
  const onAccepted = (offset: number) => {
    if (offset > held) broken = 0; // it gets on
    held = offset;
  };
  for (;;) {
    try {
      const result = await sendOnce(options, file, onAccepted);
      if (result.code === 'OK') {
        return {
          name: file.name,
          size: file.size,
          sha256: file.sha256.toString('hex'),
          storedAs: result.detail,
          resumedAt: held,
        };
      }
      await checkUnchanged(options.path, file);
      // A spoilt part was thrown away over there; one run from the start settles whether it is us.
      if (result.code !== 'SEND_HASH_MISMATCH' || restarted) throw nodeError(result.code, result.detail);
      restarted = true;
    } catch (error) {
      if (options.signal.aborted) throw options.signal.reason;
      if (!MENDABLE.includes(errorCode(error)) || ++broken > MAX_BROKEN_RUNS) throw error;
      options.logger.info('send.interrupted', { peer: options.peer.name, name: file.name, detail: errorText(error) });
      options.onProgress({ phase: 'waiting', name: file.name, done: 0, size: file.size });
    }
  }
}

async function sendOnce(
  options: SendFileOptions,
  file: FileFacts,
  onAccepted: (offset: number) => void,
): Promise<SendResult> {
  const { keeper, peer, path, signal, onProgress } = options;
  const link = await keeper.linkTo(peer.id, { signal, timeoutMs: LINK_WAIT_MS });
  const stream = link.openStream(SEND_SERVICE, encodeOffer({ name: file.name, size: file.size, sha256: file.sha256 }));
  const onAbort = () => stream.destroy();
  signal.addEventListener('abort', onAbort, { once: true });
  const answer = readAll(stream);
  answer.catch(() => {}); // the accept or the pipeline reports the same
  try {
    const resumedAt = decodeAccept(await stream.accepted);
    onAccepted(resumedAt);
    let done = resumedAt;
    const progress = () => onProgress({ phase: 'sending', name: file.name, done, size: file.size, resumedAt });
    progress();
    if (resumedAt < file.size) {
      const bytes = createReadStream(path, { start: resumedAt, end: file.size - 1, highWaterMark: READ_BYTES });
      bytes.on('data', (chunk) => {
        done += chunk.length;
        progress();
      });
      await pipeline(bytes, stream).catch((error: unknown) => {
        throw error instanceof Error && 'syscall' in error ? unreadable(path, error) : error;
      });
    } else {
      stream.end();
    }
    return decodeResult(await answer);
  } finally {
    signal.removeEventListener('abort', onAbort);
    stream.destroy();
  }
}

async function inspect({ path, onProgress, signal }: SendFileOptions): Promise<FileFacts> {
  const name = basename(path);
  try {
    const found = await stat(path);
    if (!found.isFile()) {
      throw nodeError('SEND_NOT_A_FILE', `${path} is ${found.isDirectory() ? 'a folder' : 'not a regular file'}`, {
        hint: 'Pack folders first (tar, zip), or lend one with "claw share NAME --files DIR".',
      });
    }
    const hash = createHash('sha256');
    let done = 0;
    const bytes = createReadStream(path, { highWaterMark: READ_BYTES, signal });
    for await (const chunk of bytes as AsyncIterable<Buffer>) {
      hash.update(chunk);
      done += chunk.length;
      onProgress({ phase: 'hashing', name, done, size: found.size });
    }
    return { name, size: done, modifiedMs: found.mtimeMs, sha256: hash.digest() };
  } catch (cause) {
    if (cause instanceof ClawError || signal.aborted) throw cause;
    throw unreadable(path, cause);
  }
}

function unreadable(path: string, cause: unknown) {
  return nodeError('SEND_FILE_UNREADABLE', `${path} cannot be read: ${errorText(cause)}`, { cause });
}

async function checkUnchanged(path: string, file: FileFacts): Promise<void> {
  const now = await stat(path).catch((cause: unknown) => {
    throw unreadable(path, cause);
  });
  if (now.size !== file.size || now.mtimeMs !== file.modifiedMs) {
    throw nodeError('SEND_FILE_CHANGED', `${path} changed while it was sent`, {
      hint: 'Send it again when nothing writes to it.',
    });
  }
}

async function readAll(stream: LinkStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  stream.on('data', (chunk: Buffer) => {
    length += chunk.length;
    if (length <= MAX_RESULT_BYTES) chunks.push(chunk);
    else stream.destroy(nodeError('SEND_FAILED', 'the peer answers with too much'));
  });
  await new Promise<void>((resolve, reject) => {
    stream.once('end', resolve);
    stream.once('error', reject);
    stream.once('close', () => reject(nodeError('SEND_FAILED', 'the stream closed without an answer')));
  });
  return Buffer.concat(chunks);
}
