/**
 * A folder, read only, over HTTP: files with ranges and validators (library
 * `send`), folders as a listing in HTML or, when asked for, in JSON. Hidden files
 * stay hidden, and no link leads out of the folder.
 */

import { readdir, realpath, stat } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join, sep } from 'node:path';
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

export class FolderHandler implements HttpHandler {
  readonly #root: string;

  /** @param root absolute path of the folder */
  constructor(root: string) {
    this.#root = root;
  }

  request(request: IncomingMessage, response: ServerResponse): void {
    this.#serve(request, response).catch((error: unknown) => {
      const status = errorCode(error) === 'EACCES' ? 403 : 404;
      if (!response.headersSent) refuse(response, status, status === 403 ? 'This cannot be read.' : 'There is no such file here.');
    });
  }

  close(): void {}

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD');
      return refuse(response, 405, 'This share is read only.');
    }
    const path = decodePath(request.url ?? '/');
    if (path === undefined || path.split('/').some((part) => part.startsWith('.'))) {
      return refuse(response, 404, 'There is no such file here.');
    }
    const root = await realpath(this.#root);
    const target = await realpath(join(root, path));
    if (target !== root && !target.startsWith(root.endsWith(sep) ? root : root + sep)) {
      return refuse(response, 404, 'There is no such file here.');
    }
    if ((await stat(target)).isDirectory()) return await list(request, response, target, path);
    response.setHeader('content-security-policy', 'sandbox');
    response.setHeader('x-content-type-options', 'nosniff');
    send(request, encodeURI(target.slice(root.length)).replace(/[?#]/g, encodeURIComponent), { root, index: false, dotfiles: 'ignore' })
      .on('error', (error: NodeJS.ErrnoException & { status?: number }) => refuse(response, error.status ?? 404, 'This cannot be read.'))
      .pipe(response);
  }
}

async function list(request: IncomingMessage, response: ServerResponse, folder: string, path: string): Promise<void> {
  if (!path.endsWith('/')) {
    response.writeHead(301, { location: `${encodeURI(path)}/` });
    response.end();
    return;
  }
  const entries = await readEntries(folder);
  const asJson = request.headers.accept?.includes('application/json') ?? false;
  const body = asJson ? `${JSON.stringify({ path, entries }, null, 2)}\n` : page(path, entries);
  response.writeHead(200, {
    'content-type': asJson ? 'application/json; charset=utf-8' : 'text/html; charset=utf-8',
    'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'",
    'content-length': Buffer.byteLength(body),
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

async function readEntries(folder: string): Promise<Entry[]> {
  const names = (await readdir(folder)).filter((name) => !name.startsWith('.')).slice(0, MAX_LISTED);
  const entries = await Promise.all(
    names.map(async (name): Promise<Entry | undefined> => {
      const found = await stat(join(folder, name)).catch(() => undefined); // gone, or a link to nowhere
      if (!found?.isFile() && !found?.isDirectory()) return undefined;
      const modified = found.mtime.toISOString();
      return found.isFile() ? { name, kind: 'file', bytes: found.size, modified } : { name, kind: 'folder', modified };
    }),
  );
  const order = (entry: Entry) => `${entry.kind === 'folder' ? 0 : 1}${entry.name}`;
  return entries.flatMap((entry) => entry ?? []).sort((a, b) => order(a).localeCompare(order(b)));
}

function page(path: string, entries: readonly Entry[]): string {
  const rows = entries.map(({ name, kind, bytes, modified }) => {
    const href = `./${encodeURIComponent(name)}${kind === 'folder' ? '/' : ''}`;
    const label = `${escapeHtml(name)}${kind === 'folder' ? '/' : ''}`;
    return `<tr><td><a href="${href}">${label}</a><td class="n">${bytes === undefined ? '' : readableBytes(bytes)}<td>${modified.slice(0, 16).replace('T', ' ')}`;
  });
  const up = path === '/' ? '' : '<tr><td><a href="../">../</a><td><td>';
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>${escapeHtml(path)}</title>
<style>body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}
table{border-collapse:collapse;width:100%}td{padding:.25rem .75rem .25rem 0;border-bottom:1px solid #8884}.n{text-align:right}a{text-decoration:none}</style>
<h1>${escapeHtml(path)}</h1><table>${up}${rows.join('\n')}</table></html>
`;
}

export function readableBytes(bytes: number): string {
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
