/**
 * Segmentation offload of UDP on Linux (udp(7): UDP_SEGMENT, UDP_GRO): the kernel
 * takes many packets of one size in one call, and hands over many in one. Node.js
 * cannot set these options, `koffi` can; without it, or elsewhere, every packet is
 * a call of its own and nothing else changes.
 */

import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { familyOf, type TransportAddress } from '../address.ts';

type SetSocketOption = (fd: number, level: number, name: number, value: number[], bytes: number) => number;

const SOL_UDP = 17;
const UDP_SEGMENT = 103;
const UDP_GRO = 104;

let loading: Promise<SetSocketOption | undefined> | undefined;

export class UdpOffload {
  readonly #fd: number;
  readonly #set: SetSocketOption;
  #segmentBytes = 0;

  private constructor(fd: number, set: SetSocketOption) {
    this.#fd = fd;
    this.#set = set;
  }

  /** For the open socket that is bound there. Undefined where it cannot be had. */
  static async of(local: TransportAddress): Promise<UdpOffload | undefined> {
    if (process.platform !== 'linux') return undefined;
    loading ??= loadSetSocketOption();
    const set = await loading;
    const fd = set && descriptorOf(local);
    return fd === undefined ? undefined : new UdpOffload(fd, set as SetSocketOption);
  }

  /** Whatever is longer than this leaves in packets of this size; 0 for as it is. False when the kernel refuses. */
  segment(bytes: number): boolean {
    if (bytes === this.#segmentBytes) return true;
    if (this.#set(this.#fd, SOL_UDP, UDP_SEGMENT, [bytes], 4) !== 0) return false;
    this.#segmentBytes = bytes;
    return true;
  }

  /** What is sent next is this long: not to be cut if it is one packet. */
  permit(packetBytes: number): void {
    if (packetBytes > this.#segmentBytes) this.segment(0);
  }

  /** Packets of one size that lie behind each other arrive as one. */
  joinReceived(): boolean {
    return this.#set(this.#fd, SOL_UDP, UDP_GRO, [1], 4) === 0;
  }
}

async function loadSetSocketOption(): Promise<SetSocketOption | undefined> {
  try {
    const { default: koffi } = await import('koffi');
    const libc = koffi.load('libc.so.6');
    return libc.func('int setsockopt(int fd, int level, int name, const int *value, uint32_t length)');
  } catch {
    return undefined; // optional
  }
}

/** Node.js tells nobody a socket's descriptor; the kernel does. */
function descriptorOf(local: TransportAddress): number | undefined {
  try {
    const table = readFileSync(familyOf(local.address) === 6 ? '/proc/self/net/udp6' : '/proc/self/net/udp', 'latin1');
    const port = local.port.toString(16).toUpperCase().padStart(4, '0');
    const rows = table.split('\n').map((line) => line.trim().split(/\s+/));
    const inodes = new Set(rows.filter(([, address]) => address?.endsWith(`:${port}`)).map((fields) => fields[9]));
    const found = readdirSync('/proc/self/fd').filter((fd) => {
      const inode = /^socket:\[(\d+)\]$/.exec(linkOf(fd))?.[1];
      return inode !== undefined && inodes.has(inode);
    });
    // More than one when another address has the same port: then which is which is not worth knowing.
    return found.length === 1 ? Number(found[0]) : undefined;
  } catch {
    return undefined;
  }
}

function linkOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return ''; // closed meanwhile
  }
}
