/**
 * Confinement of the key-holder process on Linux: no new sockets, no new
 * programs, no tracing of others (seccomp filter over all threads), and not
 * traceable or dumpable itself, so that another process of the same user cannot
 * read its memory. Through koffi, which is optional: without it the process
 * runs unconfined and says so.
 */

import { createRequire } from 'node:module';

/** What holds after {@link confine}; `claw doctor` shows it. */
export interface Confinement {
  /** Sockets and programs are refused by the kernel. */
  readonly seccomp: boolean;
  /** Memory is closed to other processes of the same user. */
  readonly undumpable: boolean;
  /** Why not, when something is missing. */
  readonly detail: string;
}

type Syscalls = { readonly auditArch: number; readonly seccomp: number; readonly denied: readonly number[] };

/** Numbers of: socket, connect, bind, listen, accept, accept4, socketpair, execve, execveat, ptrace, process_vm_readv, process_vm_writev, io_uring_setup. */
const SYSCALLS: Partial<Record<NodeJS.Architecture, Syscalls>> = {
  x64: { auditArch: 0xc000003e, seccomp: 317, denied: [41, 42, 49, 50, 43, 288, 53, 59, 322, 101, 310, 311, 425] },
  arm64: {
    auditArch: 0xc00000b7,
    seccomp: 277,
    denied: [198, 203, 200, 201, 202, 242, 199, 221, 281, 117, 270, 271, 425],
  },
};

const PR_SET_DUMPABLE = 4;
const PR_SET_NO_NEW_PRIVS = 38;
const SECCOMP_SET_MODE_FILTER = 1;
const SECCOMP_FILTER_FLAG_TSYNC = 1;
const RET_ALLOW = 0x7fff0000;
const RET_EPERM = 0x00050001;
/** System calls of the x32 ABI carry this bit and would slip past plain numbers. */
const X32_BIT = 0x40000000;

export function confine(): Confinement {
  const syscalls = SYSCALLS[process.arch];
  if (process.platform !== 'linux' || !syscalls) {
    return { seccomp: false, undumpable: false, detail: `not available on ${process.platform} ${process.arch}` };
  }
  try {
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
    const libc = koffi.load('libc.so.6');
    const prctl = libc.func('int prctl(int, ulong, ulong, ulong, ulong)');
    const syscall = libc.func('long syscall(long, ulong, ulong, void *)');
    const undumpable = prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) === 0;
    const filter = buildFilter(syscalls);
    const program = Buffer.alloc(16); // struct sock_fprog { unsigned short len; struct sock_filter *filter; }
    program.writeUInt16LE(filter.length / 8, 0);
    program.writeBigUInt64LE(koffi.address(filter), 8);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    const seccomp = syscall(syscalls.seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, program) === 0;
    return { seccomp, undumpable, detail: seccomp ? 'seccomp filter on' : 'the kernel refused the seccomp filter' };
  } catch (error) {
    return { seccomp: false, undumpable: false, detail: error instanceof Error ? error.message : String(error) };
  }
}

/** A classic BPF program over struct seccomp_data { int nr; u32 arch; ... }: allow all but the denied calls. */
function buildFilter({ auditArch, denied }: Syscalls): Buffer {
  const LOAD = 0x20;
  const JUMP_EQUAL = 0x15;
  const JUMP_GREATER_OR_EQUAL = 0x35;
  const RETURN = 0x06;
  const deny = denied.length + 1;
  const program: [code: number, jumpTrue: number, jumpFalse: number, value: number][] = [
    [LOAD, 0, 0, 4],
    [JUMP_EQUAL, 0, deny + 2, auditArch],
    [LOAD, 0, 0, 0],
    [JUMP_GREATER_OR_EQUAL, deny, 0, X32_BIT],
    ...denied.map((nr, index): [number, number, number, number] => [JUMP_EQUAL, deny - 1 - index, 0, nr]),
    [RETURN, 0, 0, RET_ALLOW],
    [RETURN, 0, 0, RET_EPERM],
  ];
  const bytes = Buffer.alloc(program.length * 8);
  program.forEach(([code, jumpTrue, jumpFalse, value], index) => {
    bytes.writeUInt16LE(code, index * 8);
    bytes.writeUInt8(jumpTrue, index * 8 + 2);
    bytes.writeUInt8(jumpFalse, index * 8 + 3);
    bytes.writeUInt32LE(value, index * 8 + 4);
  });
  return bytes;
}
