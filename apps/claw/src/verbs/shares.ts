/** share, unshare. */

import { resolve } from 'node:path';
import { ClawError } from '@claw/base';
import type { ShareView } from '@claw/gateway';
import { splitCommandLine } from '@claw/gateway';
import { Command } from 'commander';
import type { Context } from '../context.ts';
import { table } from '../output.ts';
import type { AddVerb } from '../verb.ts';

interface ShareOptions {
  readonly tcp?: string;
  readonly http?: string;
  readonly mcp?: string;
  readonly files?: string;
  readonly to?: string[];
}

export function registerShares(addVerb: AddVerb): void {
  addVerb(
    new Command('share')
      .description('lend a service of this machine to peers; without a name, list what is lent')
      .argument('[name]', 'what peers call it: a-z, 0-9, ".", "_", "-"')
      .option('--tcp <host:port>', 'a TCP service')
      .option('--http <url>', 'an HTTP service')
      .option('--mcp <command>', 'an MCP server, started for each client')
      .option('--files <dir>', 'a folder, read only')
      .option('--to <peer>', 'a peer that may use it; repeatable (default: nobody)', (peer, all?: string[]) => [
        ...(all ?? []),
        peer,
      ]),
    share,
  );
  addVerb(new Command('unshare').description('stop lending a service').argument('<name>'), unshare);
}

async function share(context: Context, name: string | undefined, options: ShareOptions): Promise<void> {
  const daemon = await context.daemon();
  if (name === undefined) {
    const shares = await daemon.request<ShareView[]>('GET', '/v1/shares');
    return context.out.result(shares, () => listText(shares));
  }
  const body = { service: serviceOf(options), to: options.to ?? [] };
  const made = await daemon.request<ShareView>('PUT', `/v1/shares/${encodeURIComponent(name)}`, body);
  context.out.result(made, () => sharedText(made));
}

function serviceOf({ tcp, http, mcp, files }: ShareOptions) {
  const given = [
    tcp !== undefined && { kind: 'tcp', target: tcp },
    http !== undefined && { kind: 'http', target: http },
    mcp !== undefined && { kind: 'mcp', command: splitCommandLine(mcp) },
    files !== undefined && { kind: 'files', directory: resolve(files) },
  ].filter((service) => service !== false);
  if (given.length > 1) throw new ClawError('USAGE', 'give one of --tcp, --http, --mcp and --files');
  return given[0];
}

function sharedText({ name, kind, to }: ShareView): string {
  if (to.length === 0) return `"${name}" is set up, but nobody may use it yet: claw share ${name} --to PEER`;
  const verb = kind === 'mcp' ? 'claw mcp' : 'claw use';
  return `"${name}" is lent to ${to.map((peer) => peer.name).join(', ')}. There: ${verb} THIS-MACHINE/${name}`;
}

function listText(shares: readonly ShareView[]): string {
  if (shares.length === 0) return 'Nothing is lent. For example: claw share files --files ~/notes --to laptop';
  const rows = shares.map((share) => [
    share.name,
    share.kind,
    share.target,
    share.to.map((peer) => peer.name).join(', ') || '(nobody)',
    String(share.openStreams),
  ]);
  return table([['NAME', 'KIND', 'TARGET', 'TO', 'OPEN'], ...rows]);
}

async function unshare(context: Context, name: string): Promise<void> {
  const daemon = await context.daemon();
  await daemon.request('DELETE', `/v1/shares/${encodeURIComponent(name)}`);
  context.out.result({ unshared: name }, `"${name}" is lent no longer.`);
}
