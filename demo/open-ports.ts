/** TCP ports of a process that listen on more than loopback, from /proc; undefined where there is no /proc. */

import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

const LISTEN = '0A';

export function inboundPorts(pid: number): number[] | undefined {
  if (process.platform !== 'linux') return undefined;
  const own = socketInodes(pid);
  return ['tcp', 'tcp6'].flatMap((table) =>
    readFileSync(`/proc/${pid}/net/${table}`, 'utf8')
      .split('\n')
      .slice(1)
      .flatMap((line) => {
        const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/);
        const [address = '', port = ''] = local.split(':');
        return state === LISTEN && own.has(inode) && !isLoopback(address) ? [Number.parseInt(port, 16)] : [];
      }),
  );
}

function socketInodes(pid: number): Set<string> {
  const inodes = readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? [];
    } catch {
      return []; // closed meanwhile
    }
  });
  return new Set(inodes);
}

/** Addresses are little-endian words in hexadecimal: 0100007F is 127.0.0.1. */
function isLoopback(address: string): boolean {
  return (address.length === 8 && address.endsWith('7F')) || address === '00000000000000000000000001000000';
}
