/** The contestants by name. A module is loaded when its contestant runs, never before. */

import type { Adapter } from '../contract.ts';
import { contestantError } from '../errors.ts';

export interface ContestantEntry {
  readonly about: string;
  /** Must be installed first, see `ensureContestants`. */
  readonly installed?: boolean;
  /** Brings a server of its own for the public host. */
  readonly server?: boolean;
  readonly load: () => Promise<Adapter>;
}

export const CONTESTANTS: Readonly<Record<string, ContestantEntry>> = {
  claw: {
    about: 'our link: LinkKeeper over signals carried by hand, our own WebRTC stack as engine',
    load: async () => (await import('./claw.ts')).createClawAdapter(),
  },
  'claw-webrtc': {
    about: 'our own ICE, DTLS and SCTP as they are: one reliable channel',
    load: async () => (await import('./webrtc.ts')).createWebRtcAdapter('claw-webrtc'),
  },
  'node-datachannel': {
    about: 'libdatachannel as it is: one reliable channel, the offerer as DTLS client',
    load: async () => (await import('./node-datachannel.ts')).createNodeDataChannelAdapter(),
  },
  wrtc: {
    about: 'libwebrtc through @roamhq/wrtc',
    installed: true,
    load: async () => (await import('./webrtc.ts')).createWebRtcAdapter('wrtc'),
  },
  werift: {
    about: 'WebRTC in TypeScript',
    installed: true,
    load: async () => (await import('./webrtc.ts')).createWebRtcAdapter('werift'),
  },
  hyperdht: {
    about: 'hyperdht over UDX: hole punching by a private DHT, a blind relay',
    installed: true,
    server: true,
    load: async () => (await import('./hyperdht.ts')).createHyperdhtAdapter(),
  },
  libp2p: {
    about: 'js-libp2p: WebRTC, circuit relay, DCUtR',
    installed: true,
    server: true,
    load: async () => (await import('./libp2p.ts')).createLibp2pAdapter(),
  },
  'tcp-cubic': {
    about: 'plain TCP of the kernel with CUBIC',
    load: async () => (await import('./tcp.ts')).createTcpAdapter('cubic'),
  },
  'tcp-bbr': {
    about: 'plain TCP of the kernel with BBR',
    load: async () => (await import('./tcp.ts')).createTcpAdapter('bbr'),
  },
  tls: {
    about: 'node:tls 1.3 over TCP',
    load: async () => (await import('./tls.ts')).createTlsAdapter(),
  },
  ssh: {
    about: 'OpenSSH, a forwarded port',
    load: async () => (await import('./ssh.ts')).createSshAdapter(),
  },
  reference: {
    about: 'the plain hole puncher of the simulator, over real sockets; unreliable, 2 Mbit/s',
    load: async () => (await import('./reference.ts')).createReferenceAdapter(),
  },
};

/** @throws ClawError `CONTESTANT_UNKNOWN` */
export function contestantEntry(name: string): ContestantEntry {
  const entry = Object.hasOwn(CONTESTANTS, name) ? CONTESTANTS[name] : undefined;
  if (entry) return entry;
  throw contestantError(
    'CONTESTANT_UNKNOWN',
    `there is no contestant ${name}, only ${Object.keys(CONTESTANTS).join(', ')}`,
  );
}

export function loadAdapter(name: string): Promise<Adapter> {
  return contestantEntry(name).load();
}
