/**
 * The mDNS group on all IPv4 interfaces of this machine (RFC 6762 §5.2, §11), beside other programs that listen there:
 * for questions of this process, which share it.
 */

import { createSocket, type Socket } from 'node:dgram';
import { networkInterfaces } from 'node:os';
import { systemClock } from '@claw/base';
import { addressToBytes } from '../address.ts';
import { type MdnsLink, MdnsResolver } from '../mdns/mdns-resolver.ts';

const GROUP = '224.0.0.251';
const PORT = 5353;
/** RFC 6762 §11. */
const MULTICAST_TTL = 255;

const resolver = new MdnsResolver({ clock: systemClock, openLink: openMdnsLink });

/** Addresses of a name that a browser made; none when nobody says in five seconds. */
export function resolveByMdns(name: string, signal: AbortSignal): Promise<readonly string[]> {
  return resolver.resolve(name, signal);
}

function openMdnsLink(onPacket: (packet: Buffer) => void, onReady: () => void): MdnsLink {
  // The look-up of a numeric address answers within the call, so that each packet leaves by the interface chosen for it.
  const socket = createSocket({
    type: 'udp4',
    reuseAddr: true,
    lookup: (address, _options, answer) => answer(null, address, 4),
  });
  let isOpen = true;
  let interfaces: string[] = [];
  // A port that nobody shares, a network that goes: the questions end without an answer.
  socket.on('error', () => {});
  socket.on('message', (packet, { address, port }) => {
    // RFC 6762 §6 and §11: not from another port, nor from beyond the link.
    if (port === PORT && isNeighbour(address)) onPacket(packet);
  });
  process.nextTick(() => {
    if (!isOpen) return;
    // On Linux bound to the group, so that what is for other programs of this machine stays theirs.
    socket.bind({ port: PORT, address: process.platform === 'linux' ? GROUP : '0.0.0.0' }, () => {
      if (!isOpen) return;
      interfaces = joinAll(socket);
      onReady();
    });
  });
  return {
    send: (packet) => {
      for (const address of interfaces) {
        attempt(() => {
          socket.setMulticastInterface(address);
          // With a callback a failure is its own affair.
          socket.send(packet, PORT, GROUP, () => {});
        });
      }
    },
    close: () => {
      isOpen = false;
      socket.close();
    },
  };
}

/** One address of each interface on which the group could be joined. */
function joinAll(socket: Socket): string[] {
  attempt(() => socket.setMulticastTTL(MULTICAST_TTL));
  return Object.values(networkInterfaces()).flatMap((addresses) => {
    const own = addresses?.find(({ family }) => family === 'IPv4')?.address;
    return own !== undefined && attempt(() => socket.addMembership(GROUP, own)) ? own : [];
  });
}

function isNeighbour(remote: string): boolean {
  const ipv4 = Object.values(networkInterfaces()).flatMap((each) =>
    (each ?? []).filter(({ family }) => family === 'IPv4'),
  );
  return ipv4.some(({ address, netmask }) => {
    const [mine, theirs, mask] = [address, remote, netmask].map((each) => addressToBytes(each)?.readUInt32BE() ?? 0);
    return (((mine ?? 0) ^ (theirs ?? 0)) & (mask ?? 0)) === 0;
  });
}

function attempt(work: () => void): boolean {
  try {
    work();
    return true;
  } catch {
    return false;
  }
}
