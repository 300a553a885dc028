/** use, mcp: services that peers lend to this machine. */

import { pipeline } from 'node:stream/promises';
import { ClawError } from '@claw/base';
import type { ForwardView } from '@claw/gateway';
import { Command } from 'commander';
import type { Context } from '../context.ts';
import type { NodeClient } from '../node-client.ts';
import { table } from '../output.ts';
import type { AddVerb } from '../verb.ts';

interface UseOptions {
  readonly listen?: string;
  readonly stop?: boolean;
}

export function registerUse(addVerb: AddVerb): void {
  addVerb(
    new Command('use')
      .description('open a peer’s service on this machine; PEER lists what it lends, nothing lists what is open')
      .argument('[target]', 'PEER/NAME, or PEER')
      .option('--listen <address>', 'where, such as 127.0.0.1:8080 (default: a free port)')
      .option('--stop', 'close it again'),
    use,
  );
  addVerb(
    new Command('mcp')
      .description('be the stdio end of a peer’s MCP server; MCP clients start this')
      .argument('<target>', 'PEER/NAME'),
    mcp,
  );
}

async function use(context: Context, target: string | undefined, options: UseOptions): Promise<void> {
  const { out } = context;
  const daemon = await context.daemon();
  if (target === undefined) {
    const forwards = await daemon.request<ForwardView[]>('GET', '/v1/forwards');
    return out.result(forwards, () => forwardsText(forwards));
  }
  if (!target.includes('/')) return listOf(context, daemon, target);
  const { peer, service } = splitTarget(target);
  if (options.stop) {
    await daemon.request('DELETE', `/v1/forwards/${encodeURIComponent(peer)}/${encodeURIComponent(service)}`);
    return out.result({ closed: target }, `${target} is closed.`);
  }
  const body = { peer, service, ...(options.listen !== undefined && { listen: options.listen }) };
  const forward = await daemon.request<ForwardView>('POST', '/v1/forwards', body, { signal: context.signal });
  out.result(forward, () => `${forward.peer}/${forward.service} is open at ${out.paint('bold', forward.url)}`);
}

async function listOf({ out, signal }: Context, daemon: NodeClient, peer: string): Promise<void> {
  const { services } = await daemon.request<{ services: { name: string; kind: string }[] }>(
    'GET',
    `/v1/peers/${encodeURIComponent(peer)}/services`,
    undefined,
    { signal },
  );
  out.result(services, () =>
    services.length === 0
      ? `${peer} lends nothing to this machine.`
      : table([['NAME', 'KIND'], ...services.map(({ name, kind }) => [name, kind])]),
  );
}

function forwardsText(forwards: readonly ForwardView[]): string {
  if (forwards.length === 0) return 'No service of a peer is open here. "claw use PEER" lists what a peer lends.';
  const rows = forwards.map((forward) => [
    `${forward.peer}/${forward.service}`,
    forward.kind,
    forward.url,
    String(forward.connections),
  ]);
  return table([['SERVICE', 'KIND', 'OPEN AT', 'CONNECTIONS'], ...rows]);
}

async function mcp(context: Context, target: string): Promise<void> {
  const { peer, service } = splitTarget(target);
  const daemon = await context.daemon();
  const path = `/v1/streams?peer=${encodeURIComponent(peer)}&service=${encodeURIComponent(service)}`;
  const stream = await daemon.upgrade(path, { signal: context.signal });
  // stdout belongs to the MCP client; the stream's end is the server's end.
  const toServer = pipeline(process.stdin, stream, { signal: context.signal });
  const fromServer = pipeline(stream, process.stdout, { end: false, signal: context.signal });
  await Promise.race([Promise.all([toServer, fromServer]), fromServer]);
  process.exit(0); // stdin may still be open
}

function splitTarget(target: string): { peer: string; service: string } {
  const slash = target.indexOf('/');
  const [peer, service] = [target.slice(0, slash), target.slice(slash + 1)];
  if (slash < 1 || service === '') throw new ClawError('USAGE', `"${target}" is not of the form PEER/NAME`);
  return { peer, service };
}
