/**
 * What a lab made, written down before it is made, so that whoever comes after a
 * crash can take it away and nothing else: `claw-lab/RUN/owner.json` below the
 * folder for temporary files. A run is orphaned when the process that owns it is
 * gone; a process id alone does not say so, its start time belongs to it.
 */

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { errorCode } from '@claw/base';
import { removeGroup } from './control-group.ts';
import { labError } from './errors.ts';

export interface RunRecord {
  readonly runId: string;
  readonly pid: number;
  /** Field 22 of /proc/PID/stat. */
  readonly startTime: string;
  readonly namespaces: readonly string[];
  /** The lab's control group. */
  readonly group: string;
}

const NAMESPACES = '/run/netns';
const OWNER = 'owner.json';

export function namespaceFile(name: string): string {
  return join(NAMESPACES, name);
}

/** The folder of a run; what is in it goes with the run. */
export function runFolder(runId: string): string {
  return join(tmpdir(), 'claw-lab', runId);
}

/** Writes down what is about to be made. Throws LAB_RUN_ID_IN_USE when something of it exists. */
export function recordRun(runId: string, namespaces: readonly string[], group: string): RunRecord {
  const inUse = (what: string) => labError('LAB_RUN_ID_IN_USE', `run id "${runId}": ${what} exists already`);
  const taken = [...namespaces.map(namespaceFile), group].find((path) => existsSync(path));
  if (taken) throw inUse(taken);
  const folder = runFolder(runId);
  mkdirSync(join(folder, '..'), { recursive: true, mode: 0o700 });
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    throw errorCode(error) === 'EEXIST' ? inUse(folder) : error;
  }
  const record = { runId, pid: process.pid, startTime: startTimeOf(process.pid) ?? '', namespaces, group };
  writeFileSync(join(folder, OWNER), JSON.stringify(record), { mode: 0o600 });
  return record;
}

/** Ends the run's processes and removes its namespaces, groups and files. Synchronous: it also runs on exit. */
export function removeRun(record: RunRecord): void {
  removeGroup(record.group);
  const present = record.namespaces.filter((name) => existsSync(namespaceFile(name)));
  const lines = present.map((name) => `netns delete ${name}\n`).join('');
  if (lines) spawnSync('ip', ['-force', '-batch', '-'], { input: lines, stdio: ['pipe', 'ignore', 'ignore'] });
  rmSync(runFolder(record.runId), { recursive: true, force: true });
}

/** Takes away what labs left whose process is gone. Returns their run ids. */
export function sweepOrphans(): string[] {
  const parent = join(tmpdir(), 'claw-lab');
  const swept: string[] = [];
  for (const runId of existsSync(parent) ? readdirSync(parent) : []) {
    const record = readRecord(join(parent, runId, OWNER));
    // Without a record nothing was made yet, or another sweep is at it.
    if (!record || startTimeOf(record.pid) === record.startTime) continue;
    try {
      removeRun(record);
      swept.push(runId);
    } catch {
      // What cannot be removed now is there for the next sweep; it must not keep a new lab from opening.
    }
  }
  return swept;
}

function readRecord(file: string): RunRecord | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as RunRecord;
  } catch {
    return undefined;
  }
}

function startTimeOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name, in brackets, may contain anything. A zombie (Z, X) is gone.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return /[ZX]/.test(fields[0] ?? '') ? undefined : fields[19];
  } catch {
    return undefined;
  }
}
