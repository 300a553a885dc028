/** status, peers, ping, doctor. */

import type { DoctorView, PeerView, StatusView } from '@claw/gateway';
import { Command } from 'commander';
import type { Context } from '../context.ts';
import { diagnoseOffline } from '../doctor.ts';
import { EXIT } from '../exit-codes.ts';
import { type Colour, readableBytes, readableMs, table } from '../output.ts';
import { type AddVerb, wholeNumber } from '../verb.ts';

export function registerStatus(addVerb: AddVerb): void {
  addVerb(new Command('status').description('show the node, its links and how they run'), status);
  addVerb(new Command('peers').description('list the paired machines'), peers);
  addVerb(
    new Command('ping')
      .description('measure round trips to a peer')
      .argument('<peer>')
      .option('-c, --count <count>', 'how many', wholeNumber, 5),
    ping,
  );
  addVerb(new Command('doctor').description('explain what is wrong and what to type'), doctor);
}

const STATE_COLOUR: Record<PeerView['state'], Colour> = {
  linked: 'green',
  connecting: 'yellow',
  waiting: 'yellow',
  'removed-by-peer': 'red',
};

async function status(context: Context): Promise<void> {
  const { out } = context;
  const daemon = await context.running();
  if (!daemon) {
    process.exitCode = EXIT.notRunning;
    return out.result({ state: 'stopped', home: context.home }, 'The node does not run. Start it: claw up');
  }
  const view = await daemon.request<StatusView>('GET', '/v1/status');
  out.result(view, () => statusText(context, view));
}

function statusText({ out }: Context, view: StatusView): string {
  const { carriers, peers: list, shares, forwards } = view;
  const lines = [
    `${out.paint('bold', view.name)}  ${view.nodeId}`,
    `version ${view.version}, process ${view.pid}, up ${readableMs(view.uptimeMs)}, ${readableBytes(view.memory.rssBytes)} of memory, engine ${view.engine}`,
    `key ${view.key.protection === 'none' ? 'in a file of mode 0600' : `encrypted (${view.key.protection})`}, key holder ${view.key.confined ? 'confined' : 'not confined'}`,
    '',
    ...carriers.map(
      ({ name, state, detail }) =>
        `signaling  ${out.paint(state === 'up' ? 'green' : 'yellow', state.padEnd(10))} ${name}  ${out.paint('dim', detail)}`,
    ),
  ];
  if (carriers.length === 0) lines.push('signaling  none: set a relay or turn the LAN carrier on');
  if (view.settings.error) lines.push('', `${out.paint('red', 'settings')}  ${view.settings.error}`);
  if (list.length === 0) lines.push('', 'No peers yet: claw pair --new');
  for (const peer of list) lines.push('', ...peerLines(out.paint.bind(out), peer));
  if (shares.length > 0)
    lines.push('', `lent here: ${shares.map((share) => `${share.name} (${share.kind})`).join(', ')}`);
  if (forwards.length > 0)
    lines.push(
      `open here: ${forwards.map((forward) => `${forward.peer}/${forward.service} at ${forward.url}`).join(', ')}`,
    );
  return lines.join('\n');
}

function peerLines(paint: (colour: Colour, text: string) => string, peer: PeerView): string[] {
  const { link } = peer;
  const head = `${paint(STATE_COLOUR[peer.state], '●')} ${paint('bold', peer.name)}  ${peer.state}  ${paint('dim', peer.nodeId)}`;
  if (!link) return peer.lastError ? [head, `    last: ${peer.lastError.message} [${peer.lastError.code}]`] : [head];
  const path = link.path;
  const lines = [head];
  if (path) {
    lines.push(
      `    path       ${path.local.type} ${path.local.address}:${path.local.port} → ${path.remote.type} ${path.remote.address}:${path.remote.port} over ${path.protocol}`,
    );
  }
  lines.push(
    `    round trip ${readableMs(link.roundTripMs)}   sent ${readableBytes(link.bytesSent)}   received ${readableBytes(link.bytesReceived)}   up ${readableMs(link.upMs)}`,
    `    handshake  ${[link.handshake.cipher, link.handshake.keyExchange].filter(Boolean).join(', ')}, version ${link.handshake.peerVersion}, set up in ${readableMs(link.setup.operational)}`,
    ...link.warnings.map((warning) => `    ${paint('yellow', 'warning')}    ${warning}`),
  );
  return lines;
}

async function peers(context: Context): Promise<void> {
  const daemon = await context.daemon();
  const list = await daemon.request<PeerView[]>('GET', '/v1/peers');
  context.out.result(list, () => {
    if (list.length === 0) return 'No peers yet: claw pair --new';
    const rows = list.map((peer) => [
      peer.name,
      peer.state,
      readableMs(peer.link?.roundTripMs),
      peer.words,
      peer.nodeId,
    ]);
    return table([['NAME', 'STATE', 'ROUND TRIP', 'WORDS', 'NODE ID'], ...rows]);
  });
}

async function ping(context: Context, peer: string, options: { count: number }): Promise<void> {
  const daemon = await context.daemon();
  const path = `/v1/peers/${encodeURIComponent(peer)}/ping`;
  const measured = await daemon.request<{ peer: string; roundTripsMs: number[] }>(
    'POST',
    path,
    { count: options.count },
    { signal: context.signal },
  );
  context.out.result(measured, () => {
    const sorted = measured.roundTripsMs.toSorted((a, b) => a - b);
    const median = sorted[Math.floor(sorted.length / 2)];
    const each = measured.roundTripsMs.map((ms, index) => `${measured.peer}  ${index + 1}  ${readableMs(ms)}`);
    return [
      ...each,
      `min ${readableMs(sorted[0])}   median ${readableMs(median)}   max ${readableMs(sorted.at(-1))}`,
    ].join('\n');
  });
}

async function doctor(context: Context): Promise<void> {
  const { out } = context;
  const daemon = await context.running();
  const checks = [...(await diagnoseOffline(context.home, daemon !== undefined))];
  if (daemon) checks.push(...(await daemon.request<DoctorView>('GET', '/v1/doctor')).checks);
  const worst = checks.some((check) => check.state === 'fail')
    ? 'fail'
    : checks.some((check) => check.state === 'warn')
      ? 'warn'
      : 'ok';
  if (worst === 'fail') process.exitCode = EXIT.failed;
  out.result({ state: worst, checks }, () => {
    const mark = { ok: out.paint('green', '✓'), warn: out.paint('yellow', '!'), fail: out.paint('red', '✗') };
    return checks
      .map(
        (check) =>
          `${mark[check.state]} ${check.name}: ${check.detail}${check.fix ? `\n    ${out.paint('cyan', '→')} ${check.fix}` : ''}`,
      )
      .join('\n');
  });
}
