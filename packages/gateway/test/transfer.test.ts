import { createHash, randomBytes } from 'node:crypto';
import {
  appendFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { LinkStream } from '@claw/link';
import { fuzzRuns, seededRandom, temporaryDirectory, until } from '@claw/testkit';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { safeName } from '../src/transfer/inbox.ts';
import { type SendProgress, sendFile } from '../src/transfer/send-file.ts';
import { decodeAccept, decodeResult, encodeOffer } from '../src/transfer/transfer-protocol.ts';
import { failureOf, type NodePair, openNodePair, readAll } from './node-pair.ts';

const MAX_INBOX_BYTES = 40 * 1024 * 1024;
const outbox = temporaryDirectory();
let pair: NodePair;
let inbox: string;

beforeAll(async () => {
  pair = await openNodePair({ lender: { inbox: { maxBytes: MAX_INBOX_BYTES } } });
  inbox = join(pair.lender.home, 'inbox');
});
afterAll(async () => {
  await pair?.[Symbol.asyncDispose]();
  outbox[Symbol.dispose]();
});
afterEach(() => rmSync(inbox, { recursive: true, force: true }));

interface SendChanges {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: SendProgress) => void;
}

function send(path: string, { signal = new AbortController().signal, onProgress = () => {} }: SendChanges = {}) {
  return sendFile({
    keeper: pair.user.keeper,
    peer: pair.lenderAtUser,
    path,
    signal,
    onProgress,
    logger: pair.user.logger,
  });
}

function makeFile(name: string, content: Uint8Array | string): string {
  const path = join(outbox.path, name);
  writeFileSync(path, content);
  return path;
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest();
const received = () => readdirSync(join(inbox, 'user')).sort();
const parts = () => readdirSync(join(inbox, '.partial'));
const linkToLender = () => pair.user.keeper.linkTo(pair.lender.keyHolder.nodeId);

/** Offers `bytes` as `claims` say, by hand. */
async function offer(
  bytes: Uint8Array,
  claims: Partial<{ name: string; size: number; sha256: Uint8Array }> = {},
): Promise<LinkStream> {
  const link = await linkToLender();
  return link.openStream(
    'claw.send',
    encodeOffer({ name: 'offered.bin', size: bytes.length, sha256: sha256(bytes), ...claims }),
  );
}

describe('send', () => {
  it('stores a file under its name with the bytes and the hash of the original', async () => {
    const bytes = randomBytes(3_000_001);
    const sent = await send(makeFile('photo.bin', bytes));
    expect(sent).toEqual({
      name: 'photo.bin',
      size: 3_000_001,
      sha256: sha256(bytes).toString('hex'),
      storedAs: 'photo.bin',
      resumedAt: 0,
    });
    const path = join(inbox, 'user/photo.bin');
    expect(readFileSync(path).equals(bytes)).toBe(true);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(parts()).toEqual([]);
  });

  it('sends a file of no bytes', async () => {
    expect(await send(makeFile('empty', ''))).toMatchObject({ size: 0, storedAs: 'empty' });
    expect(statSync(join(inbox, 'user/empty')).size).toBe(0);
  });

  it('overwrites nothing: the second of a name gets "(2)"', async () => {
    const stored: string[] = [];
    for (const content of ['one', 'two', 'two']) stored.push((await send(makeFile('notes.tar.gz', content))).storedAs);
    expect(stored).toEqual(['notes.tar.gz', 'notes.tar (2).gz', 'notes.tar (3).gz']);
    expect(readFileSync(join(inbox, 'user/notes.tar.gz'), 'utf8')).toBe('one');
  });

  it('goes on where it was when the link breaks, at any point', { timeout: 60_000 }, async () => {
    const seed = Date.now() % 100_000;
    const random = seededRandom(seed);
    const bytes = randomBytes(12_000_000);
    const path = makeFile('big.bin', bytes);
    const cuts = Array.from({ length: 4 }, () => random.fraction() * bytes.length).sort((a, b) => a - b);
    let highest = 0;
    const onProgress = ({ phase, done }: SendProgress) => {
      if (phase !== 'sending' || done < (cuts[0] ?? Number.POSITIVE_INFINITY)) return;
      cuts.shift();
      void linkToLender().then((link) => link.close());
    };
    const sent = await send(path, {
      onProgress: (progress) => {
        highest = Math.max(highest, progress.resumedAt ?? 0);
        onProgress(progress);
      },
    });
    expect({ seed, cuts, whole: readFileSync(join(inbox, 'user', sent.storedAs)).equals(bytes) }).toEqual({
      seed,
      cuts: [],
      whole: true,
    });
    expect(highest).toBeGreaterThan(0);
    expect(received()).toEqual(['big.bin']);
  });

  it('goes on from the part of an earlier run that was ended', async () => {
    const bytes = randomBytes(12_000_000);
    const path = makeFile('again.bin', bytes);
    const stop = new AbortController();
    const onProgress = ({ phase, done }: SendProgress) =>
      phase === 'sending' && done > 6_000_000 && stop.abort(new Error('enough'));
    expect((await failureOf(() => send(path, { signal: stop.signal, onProgress }))).message).toBe('enough');
    await until(() => pair.log.some(({ event }) => event === 'inbox.broken-off'), 'the receiver to notice');
    const sent = await send(path);
    expect(sent.resumedAt).toBeGreaterThan(0);
    expect(readFileSync(join(inbox, 'user', sent.storedAs)).equals(bytes)).toBe(true);
  });

  it('mends a part that was spoilt on the receiver’s disk', async () => {
    const bytes = randomBytes(500_000);
    const stream = await offer(bytes);
    await stream.accepted;
    stream.write(bytes.subarray(0, 300_000));
    await until(() => parts().some((part) => statSync(join(inbox, '.partial', part)).size === 300_000), 'the part');
    stream.destroy();
    await until(
      () => pair.log.filter(({ event }) => event === 'inbox.broken-off').length > 0,
      'the receiver to notice',
    );
    const part = join(inbox, '.partial', parts()[0] as string);
    const spoilt = readFileSync(part);
    spoilt[1000] = (spoilt[1000] as number) ^ 1;
    writeFileSync(part, spoilt);
    const sent = await send(makeFile('mended.bin', bytes));
    expect(readFileSync(join(inbox, 'user', sent.storedAs)).equals(bytes)).toBe(true);
  });

  it('stores one file twice when it is sent twice at once', async () => {
    const path = makeFile('twice.bin', randomBytes(4_000_000));
    const sent = await Promise.all([send(path), send(path)]);
    expect(sent.map(({ storedAs }) => storedAs).sort()).toEqual(['twice (2).bin', 'twice.bin']);
    expect(
      new Set(received().map((name) => sha256(readFileSync(join(inbox, 'user', name))).toString('hex'))).size,
    ).toBe(1);
  });

  it('says SEND_FILE_CHANGED when the file changes under way', async () => {
    const path = makeFile('changing.bin', randomBytes(8_000_000));
    let changed = false;
    const onProgress = ({ phase, done }: SendProgress) => {
      if (changed || phase !== 'sending' || done < 300_000) return;
      changed = true;
      truncateSync(path, 1_000_000);
    };
    expect((await failureOf(() => send(path, { onProgress }))).code).toBe('SEND_FILE_CHANGED');
    expect(readdirSync(inbox)).not.toContain('user');
  });

  it('delivers what was hashed when something is appended under way', async () => {
    const bytes = randomBytes(1_000_000);
    const path = makeFile('growing.log', bytes);
    const onProgress = ({ phase }: SendProgress) => phase === 'sending' && appendFileSync(path, 'more');
    const sent = await send(path, { onProgress });
    expect(readFileSync(join(inbox, 'user', sent.storedAs)).equals(bytes)).toBe(true);
  });

  it('names what cannot be sent', async () => {
    mkdirSync(join(outbox.path, 'folder'), { recursive: true });
    expect((await failureOf(() => send(join(outbox.path, 'folder')))).code).toBe('SEND_NOT_A_FILE');
    expect((await failureOf(() => send(join(outbox.path, 'nowhere')))).code).toBe('SEND_FILE_UNREADABLE');
    expect((await failureOf(() => send('/dev/zero'))).code).toBe('SEND_NOT_A_FILE');
  });

  it('is refused with STREAM_NOT_GRANTED by a receiver that takes nothing from this peer', async () => {
    const { id, grants } = pair.userAtLender;
    await pair.lender.peers.update(id, { grants: [] });
    try {
      expect((await failureOf(() => send(makeFile('unwanted', 'x')))).code).toBe('STREAM_NOT_GRANTED');
    } finally {
      await pair.lender.peers.update(id, { grants });
    }
  });

  it('is refused with the figures when the inbox is full, counting what is still to come', async () => {
    const half = await offer(randomBytes(1000), { size: MAX_INBOX_BYTES - 1_000_000 });
    await half.accepted;
    const error = await failureOf(() => send(makeFile('too-much.bin', randomBytes(2_000_000))));
    expect(error).toMatchObject({
      code: 'STREAM_REFUSED',
      message: expect.stringContaining(`of at most ${MAX_INBOX_BYTES} bytes`),
    });
    half.destroy();
    await until(() => pair.log.some(({ event }) => event === 'inbox.broken-off'), 'the receiver to notice');
    await expect
      .poll(() => send(makeFile('fits.bin', randomBytes(2_000_000))).then(({ size }) => size))
      .toBe(2_000_000);
  });

  it('is refused when the disk has no room for it', async () => {
    await pair.lender.edit([{ path: ['inbox', 'maxBytes'], value: Number.MAX_SAFE_INTEGER }]);
    const stream = await offer(Buffer.from('x'), { size: Number.MAX_SAFE_INTEGER - 10_000_000 });
    const error = await failureOf(() => stream.accepted);
    await pair.lender.edit([{ path: ['inbox', 'maxBytes'], value: MAX_INBOX_BYTES }]);
    expect(error).toMatchObject({ code: 'STREAM_REFUSED', message: expect.stringContaining('the disk has room for') });
  });
});

describe('a hostile sender', () => {
  it('that sends more than it offered is cut off, and nothing is stored', async () => {
    const stream = await offer(randomBytes(1000));
    await stream.accepted;
    stream.write(randomBytes(500_000));
    expect((await failureOf(() => readAll(stream))).code).toBe('STREAM_RESET');
    await until(
      () => pair.log.some(({ detail }) => detail === 'more bytes came than were offered'),
      'the log to say why',
    );
    expect(readdirSync(inbox)).toEqual(['.partial']);
  });

  it.each([
    ['another hash', randomBytes(1000), { sha256: randomBytes(32) }],
    ['fewer bytes', randomBytes(1000), { size: 2000 }],
    ['no bytes at all', Buffer.alloc(0), { size: 2000 }],
  ])('that sends %s is told SEND_HASH_MISMATCH, and the part is thrown away', async (_, bytes, claims) => {
    const stream = await offer(bytes, claims);
    expect(decodeAccept(await stream.accepted)).toBe(0);
    stream.end(bytes);
    expect(decodeResult(await readAll(stream)).code).toBe('SEND_HASH_MISMATCH');
    expect([readdirSync(inbox), parts()]).toEqual([['.partial'], []]);
  });

  it.each([
    ['no CBOR', Buffer.from('hello')],
    ['nothing', Buffer.alloc(0)],
    ['a negative size', Buffer.from('a3646e616d656161', 'hex')],
  ])('that offers %s is refused', async (_, meta) => {
    const stream = (await linkToLender()).openStream('claw.send', meta);
    expect((await failureOf(() => stream.accepted)).code).toBe('STREAM_REFUSED');
  });

  it('that opens many transfers gets 16 at once', async () => {
    const streams = await Promise.all(
      Array.from({ length: 17 }, (_, index) => offer(Buffer.from(`file ${index}`), { size: 1000 })),
    );
    const outcomes = await Promise.allSettled(streams.map((stream) => stream.accepted));
    expect(outcomes.filter(({ status }) => status === 'rejected')).toHaveLength(1);
    for (const stream of streams) stream.destroy();
  });

  it.each(['../../escape', '/etc/passwd', '.bashrc', 'a/../../b', 'x\u0000y', '..', '\\\\host\\share'])(
    'that names its file %j gets it stored in its own folder, in plain sight',
    async (name) => {
      const bytes = Buffer.from(`content ${name}`);
      const stream = await offer(bytes, { name });
      stream.end(bytes);
      const { code, detail } = decodeResult(await readAll(stream));
      expect([code, received()]).toEqual(['OK', [detail]]);
      expect(detail).not.toMatch(/^\.|[/\\]/);
    },
  );
});

describe('safeName', () => {
  it.each([
    ['photo.jpg', 'photo.jpg'],
    ['ünïcödé ☃.txt', 'ünïcödé ☃.txt'],
    ['backup-12:30.tar', 'backup-12_30.tar'],
    ['.bashrc', '_bashrc'],
    ['..', '__'],
    ['a. .', 'a'],
    ['CON.txt', '_CON.txt'],
    ['con', '_con'],
    ['console', 'console'],
    ['gpj.\u202etxt.exe', 'gpj._txt.exe'],
    [' ', '_'],
    [`${'é'.repeat(200)}.txt`, `${'é'.repeat(118)}.txt`],
  ])('makes %j into %j', (name, safe) => {
    expect(safeName(name)).toBe(safe);
  });

  it('gives one visible component of at most 240 bytes for any name, and leaves that as it is (fuzz)', () => {
    const nasty = fc.constantFrom(
      '/',
      '\\',
      '.',
      '..',
      '\0',
      ':',
      ' ',
      '\ud800',
      '🙂',
      '\u202e',
      'con',
      'é'.repeat(100),
      'a'.repeat(230),
    );
    const name = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(nasty, { maxLength: 6 }).map((pieces) => pieces.join('')),
    );
    fc.assert(
      fc.property(name, (text) => {
        const safe = safeName(text);
        // oxlint-disable-next-line no-control-regex -- those are meant
        expect(safe).not.toMatch(/^$|^\.|[. ]$|[/\\:*?"<>|\x00-\x1f\x7f]/);
        expect(Buffer.byteLength(safe)).toBeLessThanOrEqual(240);
        expect(Buffer.from(safe).toString()).toBe(safe);
        expect(safeName(safe)).toBe(safe);
      }),
      { numRuns: fuzzRuns },
    );
  });
});
