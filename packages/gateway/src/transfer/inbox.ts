/**
 * Files that peers sent. Each peer has a folder of its own; a file appears there
 * under its name only when it is whole and its hash is right. Parts wait in
 * `.partial`, named by sender and hash, so a broken transfer goes on where it was.
 */

import { createHash, type Hash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { link, readdir, rm, stat, statfs } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import {
  ClawError,
  type Clock,
  errorCode,
  errorText,
  type Logger,
  makePrivateDirectory,
  syncDirectory,
  withDeadline,
} from '@claw/base';
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
const MAX_TRANSFERS = 16;
/** A part that nobody continued for this long is dropped. */
const PART_LIFETIME_MS = 7 * 24 * 3_600_000;
const MAX_NAME_BYTES = 240;
/** What some file system refuses, and what makes a name look like another: control and direction characters. */
// oxlint-disable-next-line no-control-regex -- those are meant
const UNSAFE = /[/\\<>:"|?*\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffd]/g;
/** Names of devices on Windows, with any extension. */
const DEVICE = /^(?:con|prn|aux|nul|com\d|lpt\d)(?=\.|$)/i;
/** Left free on the disk, whatever the settings say. */
const RESERVED_BYTES = 64 * 1024 * 1024;

/** How long an offer waits for an earlier transfer of the same bytes, whose link may just have broken. */
const EARLIER_WAIT_MS = 10_000;

interface Writing {
  /** When it is whole. */
  readonly bytes: number;
  /** Resolves when nobody writes it any more. */
  readonly done: Promise<void>;
}

interface Part {
  readonly path: string;
  /** Bytes of it that are here already. */
  readonly offset: number;
}

export class Inbox {
  readonly #options: InboxOptions;
  readonly #active = new Map<string, number>();
  /** Parts being written, by path: the same bytes sent twice at once would spoil each other. */
  readonly #writing = new Map<string, Writing>();

  constructor(options: InboxOptions) {
    this.#options = options;
  }

  /** Takes an offered file in, or refuses it with a reason. */
  async receive(channel: IncomingChannel, peer: PeerRecord): Promise<void> {
    const { logger } = this.#options;
    const active = this.#active.get(peer.id) ?? 0;
    if (!peer.grants.includes('send')) return channel.refuse('STREAM_NOT_GRANTED', 'this node takes no files from you');
    if (active >= MAX_TRANSFERS)
      return channel.refuse('STREAM_REFUSED', `${MAX_TRANSFERS} transfers are running already`);
    this.#active.set(peer.id, active + 1);
    try {
      const offer = decodeOffer(channel.meta);
      await this.#withPart(offer, peer, (part) => this.#accept(channel, offer, part, peer));
    } catch (error) {
      logger.warn('inbox.refused', { peer: peer.name, code: errorCode(error), detail: errorText(error) });
      channel.refuse('STREAM_REFUSED', error instanceof ClawError ? error.message : 'the file cannot be stored');
    } finally {
      const left = (this.#active.get(peer.id) ?? 1) - 1;
      if (left > 0) this.#active.set(peer.id, left);
      else this.#active.delete(peer.id);
    }
  }

  /** From the accept on, what goes wrong ends the stream; the part stays for the next offer. */
  async #accept(channel: IncomingChannel, offer: SendOffer, part: Part, peer: PeerRecord): Promise<void> {
    const stream = channel.acceptStream(encodeAccept(part.offset));
    try {
      stream.end(encodeResult(await this.#store(stream, offer, part, peer)));
    } catch (error) {
      this.#options.logger.warn('inbox.broken-off', {
        peer: peer.name,
        code: errorCode(error),
        detail: errorText(error),
      });
      stream.destroy(error instanceof ClawError ? error : new Error('the file could not be stored'));
    }
  }

  /** Runs `work` as the only one on the part of these bytes, with room for the rest set aside. */
  async #withPart(offer: SendOffer, peer: PeerRecord, work: (part: Part) => Promise<void>): Promise<void> {
    const { directory } = this.#options.settings();
    const parts = join(directory, '.partial');
    const path = join(parts, `${peer.id.slice(0, 16)}-${Buffer.from(offer.sha256).toString('hex')}`);
    await this.#waitForEarlier(path);
    const { promise: done, resolve } = Promise.withResolvers<void>();
    this.#writing.set(path, { bytes: offer.size, done });
    try {
      await makePrivateDirectory(parts);
      await this.#dropOldParts(parts);
      const held = await fileBytes(path);
      await this.#checkRoom(directory);
      await work({ path, offset: held <= offer.size ? held : 0 });
    } finally {
      this.#writing.delete(path);
      resolve();
    }
  }

  /** @throws ClawError `SEND_FAILED`. */
  async #waitForEarlier(path: string): Promise<void> {
    const { clock } = this.#options;
    const giveUpAt = clock.monotonicMs() + EARLIER_WAIT_MS;
    for (let earlier = this.#writing.get(path); earlier; earlier = this.#writing.get(path)) {
      const leftMs = giveUpAt - clock.monotonicMs();
      await withDeadline(clock, earlier.done, leftMs, () =>
        nodeError('SEND_FAILED', 'the same file is being sent already'),
      );
    }
  }

  /** Whether everything that was promised room fits. @throws ClawError `SEND_NO_SPACE`. */
  async #checkRoom(directory: string): Promise<void> {
    const { maxBytes } = this.#options.settings();
    let missing = 0;
    for (const [path, { bytes }] of this.#writing) missing += Math.max(0, bytes - (await fileBytes(path)));
    const [disk, used] = await Promise.all([statfs(directory), folderBytes(directory)]);
    const free = Math.max(0, disk.bavail * disk.bsize - RESERVED_BYTES);
    if (missing > free) throw nodeError('SEND_NO_SPACE', `the disk has room for ${free} bytes, ${missing} are to come`);
    if (used + missing > maxBytes) {
      throw nodeError('SEND_NO_SPACE', `the inbox holds ${used} of at most ${maxBytes} bytes, ${missing} are to come`);
    }
  }

  async #store(stream: LinkStream, offer: SendOffer, part: Part, peer: PeerRecord): Promise<SendResult> {
    const hash = createHash('sha256');
    if (part.offset > 0) await pipeline(createReadStream(part.path, { end: part.offset - 1 }), hash, { end: false });
    await pipeline(
      stream,
      (chunks: AsyncIterable<Buffer>) => counted(chunks, hash, offer.size - part.offset),
      createWriteStream(part.path, {
        flags: part.offset > 0 ? 'r+' : 'w',
        start: part.offset,
        mode: 0o600,
        flush: true,
      }),
      { end: true },
    );
    const received = (await stat(part.path)).size;
    if (received !== offer.size || !hash.digest().equals(offer.sha256)) {
      await rm(part.path, { force: true });
      return { code: 'SEND_HASH_MISMATCH', detail: 'the bytes that arrived are not the bytes that were offered' };
    }
    const folder = join(this.#options.settings().directory, peer.name);
    await makePrivateDirectory(folder);
    const name = await moveIn(part.path, folder, safeName(offer.name));
    this.#options.logger.info('inbox.received', { peer: peer.name, name, bytes: offer.size });
    return { code: 'OK', detail: name };
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

/** The name nearest to `name` that is safe as one path component on every system: never hidden, at most 240 bytes. */
export function safeName(name: string): string {
  const cleaned = name
    .toWellFormed()
    .replace(UNSAFE, '_')
    .replace(/^\.+/, (dots) => '_'.repeat(dots.length))
    .replace(/[. ]+$/, '')
    .replace(DEVICE, '_$&');
  const extension = extname(cleaned).slice(0, 16);
  let stem = cleaned.slice(0, cleaned.length - extname(cleaned).length);
  while (Buffer.byteLength(stem + extension) > MAX_NAME_BYTES) stem = Array.from(stem).slice(0, -1).join('');
  return (stem + extension).toWellFormed().replace(/[. ]+$/, '') || '_';
}

/** Gives a whole part the first name that is free of `name`, `name (2)`, … and returns it. Never overwrites. */
async function moveIn(part: string, folder: string, name: string): Promise<string> {
  const extension = extname(name);
  const stem = name.slice(0, name.length - extension.length);
  for (let number = 1; ; number += 1) {
    const free = number === 1 ? name : `${stem} (${number})${extension}`;
    try {
      await link(part, join(folder, free));
      await rm(part);
      await syncDirectory(folder);
      return free;
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw error;
    }
  }
}

async function fileBytes(path: string): Promise<number> {
  return stat(path).then(
    (found) => found.size,
    () => 0,
  );
}

async function folderBytes(folder: string): Promise<number> {
  let sum = 0;
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) sum += await fileBytes(join(entry.parentPath, entry.name));
  }
  return sum;
}
