import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryDirectory } from '@claw/testkit';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FolderHandler } from '../src/services/files-share.ts';
import { HttpShare } from '../src/services/http-share.ts';
import { ask, askRaw } from './stream-client.ts';

const ODD_NAMES = [
  'a?b#c%.txt',
  '100%25.txt',
  'ünïcödé ☃.txt',
  'quote\'"<&>.txt',
  ' space ',
  'back\\slash',
  'semi;colon',
  'CON',
  'a..b',
];
const directory = temporaryDirectory();
const root = join(directory.path, 'root');
const share = new HttpShare(new FolderHandler(root));

beforeAll(() => {
  for (const folder of ['sub/deep', '.hidden', '.git', 'odd ?#% dir', 'evil'])
    mkdirSync(join(root, folder), { recursive: true });
  mkdirSync(join(directory.path, 'outside'));
  writeFileSync(join(directory.path, 'outside/secret.txt'), 'SECRET');
  writeFileSync(join(directory.path, 'rootsecret.txt'), 'SECRET');
  writeFileSync(join(root, '.env'), 'SECRET');
  writeFileSync(join(root, '.hidden/inner.txt'), 'SECRET');
  writeFileSync(join(root, 'digits.txt'), '0123456789');
  writeFileSync(join(root, 'page.html'), '<script>alert(1)</script>');
  writeFileSync(join(root, 'empty'), '');
  for (const name of ODD_NAMES) writeFileSync(join(root, name), `content of ${name}`);
  const links = {
    out: '../outside',
    'out.txt': '../outside/secret.txt',
    'abs.txt': join(directory.path, 'outside/secret.txt'),
    loop: 'loop',
    gone: 'nowhere',
  };
  for (const [name, target] of Object.entries({ ...links, in: 'sub', env: '.env', hid: '.hidden' }))
    symlinkSync(target, join(root, name));
  execFileSync('mkfifo', [join(root, 'pipe')]);
});
afterAll(async () => {
  await share.close();
  directory[Symbol.dispose]();
});

const list = async (path: string) =>
  JSON.parse((await ask(share, path, { headers: { accept: 'application/json' } })).body) as {
    entries: { name: string; kind: string; bytes?: number }[];
    more: number;
  };

describe('files share', () => {
  it('lists a folder in JSON: folders first, then files with sizes, nothing hidden, no link that leads out', async () => {
    const { entries, more } = await list('/');
    expect(entries.map(({ name }) => name)).toEqual(expect.arrayContaining(['sub', 'in', 'digits.txt', ...ODD_NAMES]));
    const kinds = entries.map(({ kind }) => kind);
    expect(kinds).toEqual([...kinds].sort().reverse());
    for (const name of ['.env', '.hidden', 'out', 'out.txt', 'abs.txt', 'loop', 'gone', 'env', 'hid', 'pipe']) {
      expect(entries.map((entry) => entry.name)).not.toContain(name);
    }
    expect(entries.find(({ name }) => name === 'digits.txt')).toMatchObject({ kind: 'file', bytes: 10 });
    expect(more).toBe(0);
  });

  it('lists a folder in HTML whose links lead to every entry', async () => {
    const { headers, body } = await ask(share, '/');
    expect(headers['content-type']).toBe('text/html; charset=utf-8');
    expect(headers['content-security-policy']).toContain("default-src 'none'");
    const links = [...body.matchAll(/href="\.\/([^"]+)"/g)].map(([, link]) => link as string);
    expect(links.length).toBeGreaterThan(ODD_NAMES.length);
    for (const link of links) expect((await ask(share, new URL(link, 'http://x/').pathname)).status).toBe(200);
  });

  it.each(ODD_NAMES)('serves a file called %j', async (name) => {
    expect(await ask(share, `/${encodeURIComponent(name)}`)).toMatchObject({ status: 200, body: `content of ${name}` });
  });

  it('writes names into HTML as text', async () => {
    expect((await ask(share, '/')).body).not.toContain('<&>');
  });

  it('serves a range, refuses one beyond the end, and knows what has not changed', async () => {
    const range = (value: string) => ask(share, '/digits.txt', { headers: { range: value } });
    expect(await range('bytes=2-4')).toMatchObject({
      status: 206,
      body: '234',
      headers: { 'content-range': 'bytes 2-4/10' },
    });
    expect(await range('bytes=-3')).toMatchObject({ status: 206, body: '789' });
    expect((await range('bytes=20-')).status).toBe(416);
    const { etag } = (await ask(share, '/digits.txt')).headers;
    expect(await ask(share, '/digits.txt', { headers: { 'if-none-match': etag } })).toMatchObject({
      status: 304,
      body: '',
    });
  });

  it('answers HEAD with the length alone', async () => {
    expect(await ask(share, '/digits.txt', { method: 'HEAD' })).toMatchObject({
      status: 200,
      body: '',
      headers: { 'content-length': '10' },
    });
    expect(await ask(share, '/', { method: 'HEAD' })).toMatchObject({ status: 200, body: '' });
    expect(await ask(share, '/empty')).toMatchObject({ status: 200, body: '' });
  });

  it.each(['POST', 'PUT', 'DELETE', 'PATCH'])('refuses %s: it is read only', async (method) => {
    expect(await ask(share, '/digits.txt', { method, body: 'x' })).toMatchObject({
      status: 405,
      headers: { allow: 'GET, HEAD' },
    });
  });

  it.each([
    '/.env',
    '/.hidden/',
    '/.hidden/inner.txt',
    '/sub/../.env',
    '/%2eenv',
    '/env',
    '/hid/',
    '/hid/inner.txt',
    '/.git/',
  ])('hides %s', async (path) => {
    expect((await ask(share, path)).status).toBe(404);
  });

  it.each([
    '/../outside/secret.txt',
    '/%2e%2e/outside/secret.txt',
    '/..%2foutside/secret.txt',
    '/%2e%2e%2foutside%2fsecret.txt',
    '/sub/..%2f..%2foutside/secret.txt',
    '/..%5coutside%5csecret.txt',
    '/%252e%252e/outside/secret.txt',
    '/../rootsecret.txt',
    '//../outside/secret.txt',
    '/out/secret.txt',
    '/out.txt',
    '/abs.txt',
    '/out/',
    '/loop',
    '/gone',
    '/digits.txt/',
    '/digits.txt%00.html',
    '/%E0%A4%A',
    '/pipe',
  ])('finds nothing at %s', async (path) => {
    const answer = await ask(share, path);
    expect(answer.status).toBe(404);
    expect(answer.body).not.toContain('SECRET');
  });

  it('sends nothing of the outside for any path of dots, slashes and escapes (fuzz)', async () => {
    const piece = fc.constantFrom(
      '..',
      '.',
      '/',
      '%2e',
      '%2f',
      '%5c',
      '\\',
      'out',
      'outside',
      'secret.txt',
      'sub',
      '%00',
      '%25',
      '.env',
      'hid',
      'rootsecret.txt',
    );
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 10 }), async (pieces) => {
        expect((await ask(share, `/${pieces.join('')}`)).body).not.toContain('SECRET');
      }),
      { numRuns: 300 },
    );
  });

  it('redirects to the folder itself, never to another host', async () => {
    expect((await ask(share, '/sub')).headers.location).toBe('./sub/');
    expect((await ask(share, `/${encodeURIComponent('odd ?#% dir')}`)).headers.location).toBe(
      './odd%20%3F%23%25%20dir/',
    );
    const text = await askRaw(share, 'GET //evil HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
    expect(text).toMatch(/\r\nlocation: \.\/evil\/\r\n/);
  });

  it('lets no page of the folder run scripts', async () => {
    expect((await ask(share, '/page.html')).headers).toMatchObject({
      'content-security-policy': 'sandbox',
      'x-content-type-options': 'nosniff',
    });
  });

  it('lists the first 10,000 of a huge folder and says how many more there are', async () => {
    const huge = join(root, 'huge');
    mkdirSync(huge);
    for (let number = 0; number < 10_050; number += 1) writeFileSync(join(huge, String(number).padStart(5, '0')), '');
    const { entries, more } = await list('/huge/');
    expect([entries.length, entries[0]?.name, entries.at(-1)?.name, more]).toEqual([10_000, '00000', '09999', 50]);
    expect((await ask(share, '/huge/')).body).toContain('and 50 more');
    rmSync(huge, { recursive: true });
  });

  it('answers 404 when the folder itself is gone', async () => {
    const gone = new HttpShare(new FolderHandler(join(directory.path, 'nowhere')));
    expect((await ask(gone, '/')).status).toBe(404);
  });
});
