/**
 * One control group (v2) for a lab and one below it for each node: it counts the
 * CPU time of processes that have ended too, stops and ends all processes of a
 * node at once, and outlives the process that made it, so that a sweep finds what
 * is left. No controller is needed, so a hybrid hierarchy serves as well.
 */

import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const KILL_DEADLINE_MS = 3000;
const LOOK_EVERY_MS = 2;

/** Where the v2 hierarchy is mounted, when it is. */
export function findHierarchy(): string | undefined {
  for (const line of readFileSync('/proc/self/mounts', 'utf8').split('\n')) {
    const [, folder = '', type] = line.split(' ');
    if (type === 'cgroup2') return folder;
  }
  return undefined;
}

/** The group that this process is in. */
export function ownGroup(hierarchy: string): string {
  const [, path = '/'] = /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8')) ?? [];
  return join(hierarchy, path);
}

export function makeGroup(folder: string): void {
  mkdirSync(folder);
}

/** The file to which a process writes 0 to join. */
export function groupProcs(folder: string): string {
  return join(folder, 'cgroup.procs');
}

/** CPU time of all processes that are or were in the group, milliseconds. */
export function groupCpuMs(folder: string): number {
  const [, microseconds = '0'] = /usage_usec (\d+)/.exec(readFileSync(join(folder, 'cpu.stat'), 'utf8')) ?? [];
  return Number(microseconds) / 1000;
}

export function freezeGroup(folder: string, isFrozen: boolean): void {
  writeFileSync(join(folder, 'cgroup.freeze'), isFrozen ? '1' : '0');
}

/**
 * Ends every process in the group and below and removes the groups. Repeats both,
 * because a program that was just started joins a moment later. Synchronous, since
 * it also runs while this process exits; two may do it at once.
 */
export function removeGroup(folder: string): void {
  const cell = new Int32Array(new SharedArrayBuffer(4));
  for (let waitedMs = 0; existsSync(folder); waitedMs += LOOK_EVERY_MS) {
    try {
      writeFileSync(join(folder, 'cgroup.kill'), '1');
      for (const entry of readdirSync(folder, { withFileTypes: true })) {
        if (entry.isDirectory()) rmdirSync(join(folder, entry.name));
      }
      rmdirSync(folder);
    } catch (error) {
      if (waitedMs > KILL_DEADLINE_MS) throw error;
    }
    Atomics.wait(cell, 0, 0, LOOK_EVERY_MS);
  }
}
