/** The table that the main job ends with. */

import type { RelaySeen } from './stage.ts';

interface End {
  readonly type: string;
  readonly address: string;
  readonly port: number;
}

/** Of `claw status --json`, what the table shows. */
export interface Status {
  readonly pid: number;
  readonly peers: readonly {
    readonly link: {
      readonly role: string;
      readonly path: { readonly protocol: string; readonly local: End; readonly remote: End } | null;
      readonly setup: Readonly<Record<string, number>>;
      readonly handshake: { readonly cipher: string; readonly keyExchange: string };
    } | null;
  }[];
}

export interface Measured {
  readonly readyMs: readonly number[];
  readonly status: readonly Status[];
  readonly roundTripsMs: readonly number[];
  readonly download: { readonly bytes: number; readonly ms: number };
  readonly relay: RelaySeen | undefined;
  /** TCP ports that listen on more than loopback; undefined where that cannot be seen. */
  readonly inboundPorts: readonly number[] | undefined;
  readonly totalMs: number;
}

export function report({ readyMs, status, roundTripsMs, download, relay, inboundPorts, totalMs }: Measured): string {
  const links = status.flatMap((node) => node.peers[0]?.link ?? []);
  const link = links.find((candidate) => candidate.role === 'client') ?? links[0];
  if (!link) throw new Error('there is no link to report on');
  const phases = Object.entries(link.setup).sort(([, x], [, y]) => x - y);
  const sorted = roundTripsMs.toSorted((x, y) => x - y);
  const rows: [string, string][] = [
    ['node ready', readyMs.map((ms) => `${ms} ms`).join(', ')],
    ['link set-up', `${phases.map(([phase, ms]) => `${phase} ${ms.toFixed(1)}`).join(' → ')} ms`],
    [
      'path',
      link.path ? `${endText(link.path.local)} → ${endText(link.path.remote)}, ${link.path.protocol}` : 'unknown',
    ],
    ['inner handshake', [link.handshake.cipher, link.handshake.keyExchange].filter(Boolean).join(', ')],
    [
      'round trip',
      `median ${(sorted[sorted.length >> 1] ?? 0).toFixed(2)} ms, min ${(sorted[0] ?? 0).toFixed(2)} ms, ${sorted.length} pings`,
    ],
    [
      'throughput',
      `${(download.bytes / 1e6 / (download.ms / 1000)).toFixed(1)} MB/s, ${download.bytes / 2 ** 20} MiB over the HTTP share`,
    ],
    ['seen by the relay', relay ? `${relay.envelopes} sealed envelopes, ${relay.bytes}` : 'unknown'],
    [
      'inbound TCP ports',
      inboundPorts === undefined ? 'cannot be seen on this system' : inboundPorts.join(', ') || 'none',
    ],
    ['total time', `${(totalMs / 1000).toFixed(1)} s`],
  ];
  return rows.map(([name, value]) => `  ${name.padEnd(18)} ${value}`).join('\n');
}

function endText({ type, address, port }: End): string {
  return `${type} ${address}:${port}`;
}
