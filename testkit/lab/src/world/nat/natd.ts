/**
 * The process in which the user-space NATs of one lab run. Its file descriptors from
 * 3 on are the TUNs of its routers, in the order of the configuration, which is its
 * only argument. It prints `ready`, and ends at the end of stdin, on which it is told
 * of new outside addresses, one JSON document a line.
 *
 * One loop of system calls, without the event loop: a packet costs a read, a
 * translation and a write.
 */

import { systemClock } from '@claw/base';
import type { NatSpec } from '@claw/scenarios';
import { seededRandom } from '@claw/testkit/seeded-random';
import { readInto, waitReadable, writePacket } from './libc.ts';
import { PacketNat } from './packet-nat.ts';

export interface NatdRouter {
  readonly spec: NatSpec;
  readonly outsideAddress: string;
  readonly insidePrefixes: readonly string[];
  readonly seed: number;
}

export interface NatdOrder {
  /** Index of the router. */
  readonly router: number;
  readonly outsideAddress: string;
}

const FIRST_TUN = 3;
const STDIN = 0;
const PACKETS_A_TURN = 64;

const routers = JSON.parse(process.argv[2] ?? '[]') as NatdRouter[];
const nats = routers.map((router) => new PacketNat({ ...router, random: seededRandom(router.seed) }));
const buffer = Buffer.alloc(65_536);
let pending = '';

/** False at the end of stdin. */
function takeOrders(): boolean {
  const count = readInto(STDIN, buffer);
  if (count === 0) return false;
  pending += buffer.toString('utf8', 0, Math.max(count, 0));
  const lines = pending.split('\n');
  pending = lines.pop() ?? '';
  for (const line of lines) {
    const order = JSON.parse(line) as NatdOrder;
    nats[order.router]?.setOutsideAddress(order.outsideAddress);
  }
  return true;
}

function carry(fd: number, nat: PacketNat): void {
  for (let turn = 0; turn < PACKETS_A_TURN; turn += 1) {
    const length = readInto(fd, buffer);
    if (length <= 0) return;
    const packet = nat.handle(buffer.subarray(0, length), systemClock.monotonicMs());
    if (packet) writePacket(fd, packet);
  }
}

const descriptors = [STDIN, ...nats.map((_, index) => FIRST_TUN + index)];
process.stdout.write('ready\n');
for (let isOwned = true; isOwned; ) {
  for (const fd of waitReadable(descriptors, -1)) {
    const nat = nats[fd - FIRST_TUN];
    if (nat) carry(fd, nat);
    else isOwned = takeOrders();
  }
}
