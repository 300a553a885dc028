/** Plain TCP of the kernel, with a congestion control chosen for each socket. */

import { readFile } from 'node:fs/promises';
import { release } from 'node:os';
import type { Adapter } from '../contract.ts';
import { setCongestionControl } from './congestion.ts';
import { openOverTcp } from './tcp-peers.ts';

const AVAILABLE = '/proc/sys/net/ipv4/tcp_available_congestion_control';

export function createTcpAdapter(congestion: 'cubic' | 'bbr'): Adapter {
  return {
    name: `tcp-${congestion}`,
    version: async () => `Linux ${release().split('-')[0]} TCP ${congestion}`,
    async open(context) {
      const available = (await readFile(AVAILABLE, 'utf8')).trim().split(' ');
      if (!available.includes(congestion)) {
        throw new Error(`the kernel has no congestion control ${congestion}, only ${available.join(', ')}`);
      }
      const choose = (socket: Parameters<typeof setCongestionControl>[0]) => {
        setCongestionControl(socket, congestion);
        return socket;
      };
      return openOverTcp(context, { protocol: 'tcp', accept: choose, connect: choose });
    },
  };
}
