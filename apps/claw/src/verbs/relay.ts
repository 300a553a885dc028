/** relay: run a relay for signaling. Needs no node and keeps nothing. */

import { readFileSync } from 'node:fs';
import { ClawError, createLogger, errorText } from '@claw/base';
import { openRelay } from '@claw/signaling';
import { Command } from 'commander';
import type { Context } from '../context.ts';
import { readableBytes } from '../output.ts';
import type { AddVerb } from '../verb.ts';

interface RelayOptions {
  readonly listen: string;
  readonly host?: string[];
  readonly tlsCert?: string;
  readonly tlsKey?: string;
}

export function registerRelay(addVerb: AddVerb): void {
  addVerb(
    new Command('relay')
      .description('run a relay: it passes sealed envelopes on so that nodes can find each other')
      .option('--listen <address>', 'HOST:PORT to listen on', '127.0.0.1:8787')
      .option(
        '--host <name>',
        'a name under which nodes reach it, such as relay.example:443; repeatable',
        (name, all?: string[]) => [...(all ?? []), name],
      )
      .option('--tls-cert <file>', 'certificate chain (PEM): serve wss:// itself')
      .option('--tls-key <file>', 'its private key (PEM)'),
    relay,
  );
}

async function relay({ out, signal }: Context, options: RelayOptions): Promise<void> {
  const { host, port } = splitAddress(options.listen);
  const logger = createLogger({ write: (line) => void process.stderr.write(`${line}\n`) });
  const tls = readTls(options);
  const running = await openRelay({
    host,
    port,
    logger,
    ...(tls && { tls }),
    ...(options.host && { hosts: options.host }),
  });
  out.result(
    { url: running.url, port: running.port, pid: process.pid },
    `The relay is up: ${running.url}   (Ctrl-C stops it)`,
  );
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  const seen = running.stats();
  await running.close();
  out.note(
    `The relay has stopped. It passed on ${seen.envelopesDelivered} envelopes, ${readableBytes(seen.bytesDelivered)}.`,
  );
}

function readTls({ tlsCert, tlsKey }: RelayOptions): { certPem: string; keyPem: string } | undefined {
  if (tlsCert === undefined && tlsKey === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined)
    throw new ClawError('USAGE', '--tls-cert and --tls-key go together');
  try {
    return { certPem: readFileSync(tlsCert, 'utf8'), keyPem: readFileSync(tlsKey, 'utf8') };
  } catch (cause) {
    throw new ClawError('USAGE', `the certificate or its key cannot be read: ${errorText(cause)}`, { cause });
  }
}

function splitAddress(text: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 65_535) throw new ClawError('USAGE', `"${text}" is not of the form HOST:PORT`);
  return { host: match[1] ?? match[2] ?? '', port };
}
