/**
 * A folder, read only, over HTTP: files with ranges and validators (library
 * `send`), folders as a listing in HTML or, when asked for, in JSON. Hidden files
 * stay hidden, and no link leads out of the folder.
 */

import type { Dirent } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { basename, join, sep } from 'node:path';
import { errorCode } from '@claw/base';
import send from 'send';
import { type HttpHandler, refuse } from './http-share.ts';

interface Entry {
  readonly name: string;
  readonly kind: 'file' | 'folder';
  readonly bytes?: number;
  readonly modified: string;
}

const MAX_LISTED = 10_000;
const collator = new Intl.Collator('en');

export class FolderHandler implements HttpHandler {
  readonly #root: string;

  /** @param root absolute path of the folder */
  constructor(root: string) {
    this.#root = root;
  }

  request(request: IncomingMessage, response: ServerResponse): void {
    this.#serve(request, response).catch((error: unknown) => {
      const status = errorCode(error) === 'EACCES' ? 403 : 404;
      refuse(response, status, status === 403 ? 'This cannot be read.' : 'There is no such file here.');
    });
  }

  close(): void {}

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD');
      return refuse(response, 405, 'This share is read only.');
    }
    const path = decodePath(request.url ?? '/');
    const root = await realpath(this.#root);
    const target = path === undefined || isHidden(path) ? undefined : await resolveInside(root, join(root, path));
    if (path === undefined || target === undefined) return refuse(response, 404, 'There is no such file here.');
    const found = await stat(target);
    if (found.isDirectory()) return list(request, response, root, target, path);
    // Opening a pipe or a device would wait for its other end, and a thread with it.
    if (!found.isFile() || path.endsWith('/')) return refuse(response, 404, 'There is no such file here.');
    response.setHeader('content-security-policy', 'sandbox');
    response.setHeader('x-content-type-options', 'nosniff');
    send(request, encodeURI(target.slice(root.length)).replace(/[?#]/g, encodeURIComponent), {
      root,
      index: false,
      dotfiles: 'ignore',
    })
      .on('error', (error: NodeJS.ErrnoException & { status?: number }) =>
        refuse(response, error.status ?? 404, 'This cannot be read.'),
      )
      .pipe(response);
  }
}

/** Where `path` really is, if that is in the folder `root` and not hidden there. */
async function resolveInside(root: string, path: string): Promise<string | undefined> {
  const target = await realpath(path);
  if (target === root) return target;
  const prefix = root.endsWith(sep) ? root : root + sep;
  return target.startsWith(prefix) && !isHidden(target.slice(prefix.length)) ? target : undefined;
}

function isHidden(path: string): boolean {
  return path.split(/[/\\]/).some((part) => part.startsWith('.'));
}

async function list(
  request: IncomingMessage,
  response: ServerResponse,
  root: string,
  folder: string,
  path: string,
): Promise<void> {
  if (!path.endsWith('/')) {
    // Relative, so that "//name" cannot become another host.
    response.writeHead(301, { location: `./${encodeURIComponent(basename(path))}/`, 'content-length': 0 });
    response.end();
    return;
  }
  const { entries, more } = await readEntries(root, folder);
  const asJson = request.headers.accept?.includes('application/json') ?? false;
  const body = asJson ? `${JSON.stringify({ path, entries, more }, null, 2)}\n` : page(path, entries, more);
  response.writeHead(200, {
    'content-type': asJson ? 'application/json; charset=utf-8' : 'text/html; charset=utf-8',
    'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'",
    'content-length': Buffer.byteLength(body),
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

/** The first {@link MAX_LISTED} by name, and how many are left out. */
async function readEntries(root: string, folder: string): Promise<{ entries: Entry[]; more: number }> {
  const present = (await readdir(folder, { withFileTypes: true })).filter(({ name }) => !name.startsWith('.'));
  present.sort((a, b) => collator.compare(a.name, b.name));
  const listed = present.slice(0, MAX_LISTED);
  const entries = await Promise.all(
    listed.map((entry) => describe(root, join(folder, entry.name), entry).catch(() => undefined)),
  );
  const shown = entries.filter((entry) => entry !== undefined);
  const folders = shown.filter(({ kind }) => kind === 'folder');
  return {
    entries: [...folders, ...shown.filter(({ kind }) => kind === 'file')],
    more: present.length - listed.length,
  };
}

/** Nothing for what cannot be fetched either: pipes, devices, links that lead out. */
async function describe(root: string, path: string, entry: Dirent): Promise<Entry | undefined> {
  if (entry.isSymbolicLink() && (await resolveInside(root, path)) === undefined) return undefined;
  const found = await stat(path);
  const modified = found.mtime.toISOString();
  if (found.isFile()) return { name: entry.name, kind: 'file', bytes: found.size, modified };
  return found.isDirectory() ? { name: entry.name, kind: 'folder', modified } : undefined;
}

function page(path: string, entries: readonly Entry[], more: number): string {
  const rows = entries.map(({ name, kind, bytes, modified }) => {
    const href = `./${encodeURIComponent(name)}${kind === 'folder' ? '/' : ''}`;
    const label = `${escapeHtml(name)}${kind === 'folder' ? '/' : ''}`;
    return `<tr><td><a href="${href}">${label}</a><td class="n">${bytes === undefined ? '' : readableBytes(bytes)}<td>${modified.slice(0, 16).replace('T', ' ')}`;
  });
  const up = path === '/' ? '' : '<tr><td><a href="../">../</a><td><td>';
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>${escapeHtml(path)}</title>
<style>body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}
table{border-collapse:collapse;width:100%}td{padding:.25rem .75rem .25rem 0;border-bottom:1px solid #8884}.n{text-align:right}a{text-decoration:none}</style>
<h1>${escapeHtml(path)}</h1><table>${up}${rows.join('\n')}</table>${more > 0 ? `<p>and ${more} more` : ''}</html>
`;
}

function readableBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  return power === 0 ? `${bytes} B` : `${(bytes / 1024 ** power).toFixed(1)} ${units[power]}`;
}

function decodePath(url: string): string | undefined {
  try {
    const path = decodeURIComponent((url.split('?')[0] ?? '/').split('#')[0] as string);
    return path.includes('\0') || !path.startsWith('/') ? undefined : path;
  } catch {
    return undefined;
  }
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
