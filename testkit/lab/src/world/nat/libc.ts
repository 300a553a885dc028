/** The four system calls that move packets, without the event loop between them: one process, one wait, no threads. */

import koffi from 'koffi';

const EAGAIN = 11;
const EINTR = 4;
const POLLIN = 1;

const libc = koffi.load('libc.so.6');
const readCall = libc.func('long read(int fd, _Out_ uint8_t *bytes, size_t count)') as Call;
const writeCall = libc.func('long write(int fd, const uint8_t *bytes, size_t count)') as Call;
const pollCall = libc.func('int poll(_Inout_ uint8_t *fds, unsigned long count, int timeoutMs)') as PollCall;

type Call = (fd: number, bytes: Uint8Array, count: number) => number;
type PollCall = (fds: Uint8Array, count: number, timeoutMs: number) => number;

/** Bytes read, 0 at the end, -1 when there is nothing now. Throws what else the kernel says. */
export function readInto(fd: number, bytes: Buffer): number {
  const count = readCall(fd, bytes, bytes.length);
  if (count >= 0) return count;
  const number = koffi.errno();
  if (number === EAGAIN || number === EINTR) return -1;
  throw new Error(`read of descriptor ${fd}: errno ${number}`);
}

/** A packet that the kernel refuses is lost, as on a cable. */
export function writePacket(fd: number, packet: Buffer): void {
  writeCall(fd, packet, packet.length);
}

/** Waits until one of the descriptors can be read and returns those that can. */
export function waitReadable(fds: readonly number[], timeoutMs: number): number[] {
  const table = Buffer.alloc(fds.length * 8);
  for (const [index, fd] of fds.entries()) {
    table.writeInt32LE(fd, index * 8);
    table.writeInt16LE(POLLIN, index * 8 + 4);
  }
  if (pollCall(table, fds.length, timeoutMs) <= 0) return [];
  return fds.filter((_, index) => table.readInt16LE(index * 8 + 6) !== 0);
}
