/**
 * Files that peers sent. Each peer has a folder of its own; a file appears there
 * under its name only when it is whole and its hash is right. Parts wait in
 * `.partial`, named by sender and hash, so a broken transfer goes on where it was.
 */

import { createHash, type Hash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { link, open, readdir, rm, stat, statfs } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { ClawError, type Clock, errorCode, errorText, type Logger, makePrivateDirectory } from '@claw/base';
import type { PeerRecord } from '@claw/identity';
import type { IncomingChannel, LinkStream } from '@claw/link';
import { nodeError } from '../errors.ts';
import { decodeOffer, encodeAccept, encodeResult, type SendOffer, type SendResult } from './transfer-protocol.ts';

export interface InboxSettings {
  readonly directory: string;
  readonly maxBytes: number;
}

export interface InboxOptions {
  readonly settings: () => InboxSettings;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Transfers of one peer at once. */
const MAX_TRANSFERS = 4;
/** A part that nobody continued for this long is dropped. */
const PART_LIFETIME_MS = 7 * 24 * 3_600_000;
/** Left free on the disk, whatever the settings say. */
const RESERVED_BYTES = 64 * 1024 * 1024;

export class Inbox {
  readonly #options: InboxOptions;
  readonly #active = new Map<string, number>();
  /** Parts being written: the same bytes sent twice at once would spoil each other. */
  readonly #writing = new Set<string>();

  constructor(options: InboxOptions) {
    this.#options = options;
  }

  /** Takes an offered file in, or refuses it with a reason. */
  async receive(channel: IncomingChannel, peer: PeerRecord): Promise<void> {
    const { logger } = this.#options;
    const active = this.#active.get(peer.id) ?? 0;
    if (!peer.grants.includes('send')) return channel.refuse('STREAM_NOT_GRANTED', 'this node takes no files from you');
    if (active >= MAX_TRANSFERS) return channel.refuse('STREAM_REFUSED', `${MAX_TRANSFERS} transfers are running already`);
    this.#active.set(peer.id, active + 1);
    let stream: LinkStream | undefined;
    try {
      const offer = decodeOffer(channel.meta);
      const name = safeName(offer.name);
      const part = await this.#preparePart(offer, peer);
      try {
        stream = channel.acceptStream(encodeAccept(part.offset));
        stream.on('error', () => {}); // the pipeline below reports it
        const result = await this.#store(stream, offer, part, name, peer);
        stream.end(encodeResult(result));
      } finally {
        this.#writing.delete(part.path);
      }
    } catch (error) {
      logger.warn('inbox.refused', { peer: peer.name, code: errorCode(error), detail: errorText(error) });
      if (stream) stream.destroy();
      else channel.refuse('STREAM_REFUSED', error instanceof ClawError ? error.message : 'the file cannot be stored');
    } finally {
      this.#active.set(peer.id, (this.#active.get(peer.id) ?? 1) - 1);
    }
  }

  async #preparePart(offer: SendOffer, peer: PeerRecord): Promise<{ path: string; offset: number }> {
    const { directory, maxBytes } = this.#options.settings();
    const parts = join(directory, '.partial');
    await makePrivateDirectory(parts);
    await this.#dropOldParts(parts);
    const path = join(parts, `${peer.id.slice(0, 16)}-${Buffer.from(offer.sha256).toString('hex')}`);
    if (this.#writing.has(path)) throw nodeError('SEND_FAILED', 'the same file is being sent already');
    const held = await stat(path).then(
      (found) => found.size,
      () => 0,
    );
    const offset = held <= offer.size ? held : 0;
    const missing = offer.size - offset;
    const disk = await statfs(directory);
    const free = disk.bavail * disk.bsize - RESERVED_BYTES;
    const used = await folderBytes(directory);
    if (missing > free) throw nodeError('SEND_NO_SPACE', `the disk has room for ${Math.max(0, free)} bytes, the file needs ${missing}`);
    if (used + missing > maxBytes) {
      throw nodeError('SEND_NO_SPACE', `the inbox holds ${used} of at most ${maxBytes} bytes, the file needs ${missing}`);
    }
    this.#writing.add(path);
    return { path, offset };
  }

  async #store(
    stream: LinkStream,
    offer: SendOffer,
    part: { path: string; offset: number },
    name: string,
    peer: PeerRecord,
  ): Promise<SendResult> {
    const hash = createHash('sha256');
    if (part.offset > 0) await pipeline(createReadStream(part.path, { end: part.offset - 1 }), hash, { end: false });
    await pipeline(
      stream,
      (chunks: AsyncIterable<Buffer>) => counted(chunks, hash, offer.size - part.offset),
      createWriteStream(part.path, { flags: part.offset > 0 ? 'r+' : 'w', start: part.offset, mode: 0o600, flush: true }),
      { end: true },
    );
    const received = (await stat(part.path)).size;
    if (received !== offer.size || !hash.digest().equals(offer.sha256)) {
      await rm(part.path, { force: true });
      return { code: 'SEND_HASH_MISMATCH', detail: 'the bytes that arrived are not the bytes that were offered' };
    }
    const folder = join(this.#options.settings().directory, peer.name);
    await makePrivateDirectory(folder);
    const path = await moveIn(part.path, folder, name);
    this.#options.logger.info('inbox.received', { peer: peer.name, name, bytes: offer.size });
    return { code: 'OK', detail: path.slice(folder.length + 1) };
  }

  async #dropOldParts(folder: string): Promise<void> {
    const now = this.#options.clock.now();
    for (const name of await readdir(folder)) {
      const path = join(folder, name);
      const age = await stat(path).then(
        (found) => now - found.mtimeMs,
        () => 0,
      );
      if (age > PART_LIFETIME_MS && !this.#writing.has(path)) await rm(path, { force: true });
    }
  }
}

/** Passes chunks on, hashes them and stops at the promised length. */
async function* counted(chunks: AsyncIterable<Buffer>, hash: Hash, expected: number): AsyncGenerator<Buffer> {
  let count = 0;
  for await (const chunk of chunks) {
    count += chunk.length;
    if (count > expected) throw nodeError('SEND_FAILED', 'more bytes came than were offered');
    hash.update(chunk);
    yield chunk;
  }
}

/**
 * A name that is safe as one path component on every system.
 * @throws ClawError `SEND_NAME_INVALID`.
 */
export function safeName(name: string): string {
  const bad = name === '.' || name === '..' || /[/\\\0-\x1f\x7f<>:"|?*]/.test(name) || Buffer.byteLength(name) > 240;
  if (bad || name.startsWith('.') || /[. ]$/.test(name)) {
    throw nodeError('SEND_NAME_INVALID', `a file cannot be stored under the name ${JSON.stringify(name.slice(0, 60))}`);
  }
  return name;
}

/** Gives a whole part its name: the first that is free of `name`, `name (2)`, … Never overwrites. */
async function moveIn(part: string, folder: string, name: string): Promise<string> {
  const extension = extname(name);
  const stem = name.slice(0, name.length - extension.length);
  for (let number = 1; ; number += 1) {
    const path = join(folder, number === 1 ? name : `${stem} (${number})${extension}`);
    try {
      await link(part, path);
      await rm(part);
      const handle = await open(folder, 'r');
      await handle.sync().finally(() => handle.close());
      return path;
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw error;
    }
  }
}

async function folderBytes(folder: string): Promise<number> {
  let sum = 0;
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) sum += await stat(join(entry.parentPath, entry.name)).then((found) => found.size, () => 0);
  }
  return sum;
}
