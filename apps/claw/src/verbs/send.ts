/** send: files to a peer's inbox. */

import { resolve } from 'node:path';
import type { SendProgress, SentFile } from '@claw/gateway';
import { Command } from 'commander';
import type { Context } from '../context.ts';
import { readableBytes } from '../output.ts';
import { ProgressBar } from '../progress.ts';
import type { AddVerb } from '../verb.ts';

type SendEvent = { readonly progress: SendProgress } | { readonly sent: SentFile };

export function registerSend(addVerb: AddVerb): void {
  addVerb(
    new Command('send')
      .description('send files to a peer’s inbox; goes on where a broken transfer stopped')
      .argument('<peer>')
      .argument('<files...>'),
    send,
  );
}

async function send(context: Context, peer: string, files: string[]): Promise<void> {
  const { out } = context;
  const daemon = await context.daemon();
  const bar = new ProgressBar();
  const sent: SentFile[] = [];
  for (const file of files) {
    const started = performance.now();
    const events = daemon.stream<SendEvent>(
      'POST',
      '/v1/send',
      { peer, path: resolve(file) },
      { signal: context.signal },
    );
    try {
      for await (const event of events) {
        if ('sent' in event) sent.push(event.sent);
        else showProgress(bar, event.progress);
      }
    } catch (error) {
      return out.fail(error, { peer, failed: file, files: sent });
    } finally {
      bar.clear();
    }
    const done = sent.at(-1) as SentFile;
    const rate = (done.size - done.resumedAt) / Math.max(0.001, (performance.now() - started) / 1000);
    const resumed = done.resumedAt > 0 ? `, went on at ${readableBytes(done.resumedAt)}` : '';
    const stored = done.storedAs === done.name ? '' : `, stored as "${done.storedAs}"`;
    out.line(
      `${out.paint('green', '✓')} ${done.name}  ${readableBytes(done.size)}  ${readableBytes(rate)}/s${resumed}${stored}`,
    );
  }
  if (out.json) out.result({ peer, files: sent }, '');
}

function showProgress(bar: ProgressBar, { phase, name, done, size }: SendProgress): void {
  if (phase === 'waiting') bar.message(`${name}  the link is down; waiting for the next one`);
  else bar.update(`${phase === 'hashing' ? 'checking' : 'sending '} ${name}`, done, size);
}
