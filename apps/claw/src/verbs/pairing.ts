/** pair, unpair. */

import { createInterface } from 'node:readline';
import { ClawError, errorText } from '@claw/base';
import type { PeerView } from '@claw/gateway';
import { Command } from 'commander';
import type { Context } from '../context.ts';
import type { NodeClient } from '../node-client.ts';
import type { AddVerb } from '../verb.ts';

interface PairOptions {
  readonly new?: boolean;
  readonly name?: string;
  readonly relay?: string;
  readonly byHand?: boolean;
  readonly wait?: boolean;
}

const WAIT_POLL_MS = 300;
/** Longer than the daemon waits for the other machine, by hand too. */
const PAIR_TIMEOUT_MS = 11 * 60_000;

export function registerPairing(addVerb: AddVerb): void {
  addVerb(
    new Command('pair')
      .description('pair with another machine: --new here, then the invite there')
      .argument('[invite]', 'the invite that the other machine printed; "-" reads it from stdin')
      .option('--new', 'make an invite: good for ten minutes and one machine')
      .option('--name <name>', 'what to call the other machine')
      .option('--relay <url>', 'with --new: the relay to meet on; kept in the settings')
      .option('--by-hand', 'carry the messages yourself, where no network joins the two')
      .option('--no-wait', 'with --new: do not wait for the other machine'),
    pair,
  );
  addVerb(
    new Command('unpair')
      .description('forget a peer and cut its links at once')
      .argument('<peer>', 'its name or node id'),
    unpair,
  );
}

async function pair(context: Context, invite: string | undefined, options: PairOptions): Promise<void> {
  if ((invite === undefined) === (options.new !== true)) {
    throw new ClawError('USAGE', 'give either --new or an invite', { hint: 'claw pair --new   or   claw pair CLAW:…' });
  }
  if (options.byHand && (context.out.json || invite === '-' || options.wait === false)) {
    throw new ClawError(
      'USAGE',
      '--by-hand needs somebody to carry texts: it goes neither with --json, nor with --no-wait, nor with the invite on stdin',
    );
  }
  const text = invite === '-' ? await readStdin() : invite;
  const daemon = await context.daemon();
  const hand = options.byHand ? await startHand(context, daemon) : undefined;
  try {
    const peer =
      text === undefined ? await makeInvite(context, daemon, options) : await join(context, daemon, text, options);
    if (hand && peer) await waitForLinkByHand(context, daemon, peer);
  } finally {
    hand?.stop();
  }
}

/** The peer that used the invite, if one was waited for and came. */
async function makeInvite(context: Context, daemon: NodeClient, options: PairOptions): Promise<PeerView | undefined> {
  const { out, signal } = context;
  const before = new Set(
    (await daemon.request<PeerView[]>('GET', '/v1/peers')).map((peer) => `${peer.nodeId} ${peer.pairedAt}`),
  );
  const body = {
    ...(options.name !== undefined && { name: options.name }),
    ...(options.relay !== undefined && { relay: options.relay }),
  };
  const made = await daemon.request<{ invite: string; expiresAt: string; reach: string[] }>(
    'POST',
    '/v1/invites',
    body,
  );
  if (out.json) {
    out.result(made, '');
    return undefined;
  }
  const { default: qrcode } = await import('qrcode');
  out.line(await qrcode.toString(made.invite, { type: 'utf8', errorCorrectionLevel: 'L', margin: 2 }));
  out.line(`On the other machine, within ten minutes:\n\n  claw pair ${made.invite}\n`);
  out.line(`It can be reached by: ${made.reach.join(', ') || 'nothing! Set a relay (--relay URL) or join a network.'}`);
  if (options.wait === false) return undefined;
  out.note('Waiting for the other machine; Ctrl-C stops waiting, the invite stays good.');
  const expires = Date.parse(made.expiresAt);
  while (Date.now() < expires) {
    await pause(WAIT_POLL_MS, signal);
    const peers = await daemon.request<PeerView[]>('GET', '/v1/peers', undefined, { signal });
    const joined = peers.find((peer) => !before.has(`${peer.nodeId} ${peer.pairedAt}`));
    if (!joined) continue;
    out.line(pairedText(context, joined));
    return joined;
  }
  throw new ClawError('PAIR_TIMEOUT', 'nobody used the invite within ten minutes', {
    hint: 'Make another: claw pair --new',
  });
}

async function join(context: Context, daemon: NodeClient, invite: string, options: PairOptions): Promise<PeerView> {
  const { out, signal } = context;
  out.note('Pairing …');
  const body = {
    invite,
    ...(options.name !== undefined && { name: options.name }),
    ...(options.byHand && { byHand: true }),
  };
  const peer = await daemon.request<PeerView>('POST', '/v1/pair', body, { signal, timeoutMs: PAIR_TIMEOUT_MS });
  out.result(peer, () => pairedText(context, peer));
  return peer;
}

function pairedText({ out }: Context, peer: PeerView): string {
  return [
    `${out.paint('green', '✓')} Paired with ${out.paint('bold', peer.name)} (${peer.nodeId})`,
    `  Both machines must show the same words: ${out.paint('bold', peer.words)}`,
    '  If they differ, somebody else took the invite: claw unpair ' + peer.name,
  ].join('\n');
}

async function unpair(context: Context, peer: string): Promise<void> {
  const daemon = await context.daemon();
  const removed = await daemon.request<PeerView>('DELETE', `/v1/peers/${encodeURIComponent(peer)}`);
  context.out.result(
    { unpaired: removed.name, nodeId: removed.nodeId },
    `${removed.name} is unpaired; its links are cut.`,
  );
}

// --- by hand

/** Shows texts to carry on stderr, and hands lines typed or pasted on stdin to the node. */
async function startHand({ out, signal }: Context, daemon: NodeClient): Promise<{ stop: () => void }> {
  const ending = new AbortController();
  const both = AbortSignal.any([signal, ending.signal]);
  const texts = daemon.stream<{ session?: string; text?: string }>('POST', '/v1/hand', {}, { signal: both });
  const opened = Promise.withResolvers<string>();
  void (async () => {
    for await (const { session, text } of texts) {
      if (session !== undefined) opened.resolve(session);
      if (text !== undefined)
        process.stderr.write(`\nCarry this to the other machine and paste it there:\n\n${text}\n\n`);
    }
  })().catch((error: unknown) => {
    opened.reject(error);
    if (!both.aborted) out.note(`The way by hand ended: ${errorText(error)}`);
  });
  const session = await opened.promise;
  out.note('By hand: paste what the other machine shows here, one text after the other.');
  const lines = createInterface({ input: process.stdin });
  lines.on('line', (line) => {
    if (line.trim() === '') return;
    daemon
      .request('POST', `/v1/hand/${session}`, { text: line })
      .catch((error: unknown) => out.note(`Not taken: ${errorText(error)}`));
  });
  return {
    stop: () => {
      lines.close();
      ending.abort(new ClawError('INTERRUPTED', 'done'));
    },
  };
}

async function waitForLinkByHand({ out, signal }: Context, daemon: NodeClient, { nodeId }: PeerView): Promise<void> {
  out.note('Carry on until both are linked; Ctrl-C stops.');
  for (;;) {
    const peers = await daemon.request<PeerView[]>('GET', '/v1/peers', undefined, { signal });
    const linked = peers.find((peer) => peer.nodeId === nodeId && peer.state === 'linked');
    if (linked) return out.line(`${out.paint('green', '✓')} Linked with ${linked.name}.`);
    await pause(WAIT_POLL_MS, signal);
  }
}

async function readStdin(): Promise<string> {
  let text = '';
  for await (const chunk of process.stdin) text += String(chunk);
  return text.trim();
}

function pause(delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, delayMs);
    signal.addEventListener('abort', () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}
