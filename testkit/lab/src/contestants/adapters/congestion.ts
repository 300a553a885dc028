/** Which congestion control a socket of ours has: TCP_CONGESTION (tcp(7)) by libc, which Node.js has no word for. */

import type { Socket } from 'node:net';
import koffi from 'koffi';

const IPPROTO_TCP = 6;
const TCP_CONGESTION = 13;
const NAME_BYTES = 16;

const libc = koffi.load('libc.so.6');
const setsockopt = libc.func('int setsockopt(int fd, int level, int name, const void *value, uint32_t length)');
const getsockopt = libc.func(
  'int getsockopt(int fd, int level, int name, _Out_ uint8_t *value, _Inout_ uint32_t *length)',
);

/** @throws Error when the kernel does not take it. */
export function setCongestionControl(socket: Socket, name: string): void {
  const fd = (socket as unknown as { _handle?: { fd?: number } })._handle?.fd ?? -1;
  if (fd < 0) throw new Error('the socket has no descriptor');
  const value = Buffer.from(name);
  if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, value, value.length) !== 0) {
    throw new Error(`the kernel refuses TCP_CONGESTION ${name} (errno ${koffi.errno()})`);
  }
  const found = Buffer.alloc(NAME_BYTES);
  const length = [NAME_BYTES];
  if (getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, found, length) !== 0) {
    throw new Error(`TCP_CONGESTION cannot be read (errno ${koffi.errno()})`);
  }
  const now = found.toString('latin1').split('\0', 1)[0];
  if (now !== name) throw new Error(`the socket runs ${now} after ${name} was set`);
}
