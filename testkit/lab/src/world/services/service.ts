/**
 * A real program that serves on a host of the topology: started, watched until its
 * ports are open, killed and started again by events. Its files are in a folder of
 * its own inside the run's.
 */

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorText, sleep, systemClock } from '@claw/base';
import { hasProgram } from '../can-use-lab.ts';
import { labError } from '../errors.ts';
import type { NodePlan } from '../node-plan.ts';
import type { NodeRunner } from '../node-runner.ts';

export interface ServicePort {
  readonly protocol: 'udp' | 'tcp';
  readonly port: number;
}

export interface ServiceProgram {
  /** As in the topology: `turn`, `http-proxy`, `dns`. */
  readonly kind: string;
  readonly command: readonly [string, ...string[]];
  readonly debianPackage: string;
  readonly ports: readonly ServicePort[];
  /** Exists; the program's output goes to `log` in it. */
  readonly folder: string;
}

const START_DEADLINE_MS = 10_000;
const LOOK_EVERY_MS = 5;
const TCP_LISTENS = '0A';

export class Service {
  readonly kind: string;
  readonly node: NodePlan;
  readonly #program: ServiceProgram;
  readonly #runner: NodeRunner;
  #child: ChildProcess | undefined;

  constructor(node: NodePlan, program: ServiceProgram, runner: NodeRunner) {
    this.kind = program.kind;
    this.node = node;
    this.#program = program;
    this.#runner = runner;
  }

  /** Resolves when all its ports are open. Does nothing when it runs. */
  async start(): Promise<void> {
    if (this.#child) return;
    const { command, debianPackage, folder } = this.#program;
    if (!hasProgram(command[0])) {
      const hint = `Install the Debian package ${debianPackage}.`;
      throw labError('LAB_PROGRAM_MISSING', `the service ${this.kind} needs ${command[0]}`, { hint });
    }
    const log = openSync(join(folder, 'log'), 'a', 0o600);
    this.#child = this.#runner.spawn(this.node, command, { stdio: ['ignore', log, log], cwd: folder });
    closeSync(log);
    await this.#untilOpen(this.#child);
  }

  /** Kills it, as a crash would. */
  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  async #untilOpen(child: ChildProcess): Promise<void> {
    for (let waitedMs = 0; waitedMs < START_DEADLINE_MS; waitedMs += LOOK_EVERY_MS) {
      if (child.exitCode !== null || child.signalCode !== null) throw this.#failed('ended');
      if (child.pid !== undefined && this.#program.ports.every((port) => isOpen(child.pid ?? 0, port))) return;
      await sleep(systemClock, LOOK_EVERY_MS);
    }
    throw this.#failed(`opened not all of its ports within ${START_DEADLINE_MS} ms`);
  }

  #failed(what: string) {
    const log = readFileSync(join(this.#program.folder, 'log'), 'utf8').slice(-600);
    return labError('LAB_SERVICE_FAILED', `${this.kind} on ${this.node.name} ${what}. The end of its log: ${log}`);
  }
}

/** Whether a port is bound in the namespace of a process: the tables of /proc/PID/net, proc(5). */
function isOpen(pid: number, { protocol, port }: ServicePort): boolean {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return [protocol, `${protocol}6`].some((table) =>
    readTable(pid, table).some((line) => {
      const [, local = '', , state] = line.trim().split(/\s+/);
      return local.endsWith(suffix) && (protocol === 'udp' || state === TCP_LISTENS);
    }),
  );
}

function readTable(pid: number, table: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/net/${table}`, 'utf8').split('\n');
  } catch (error) {
    // The process ended in between; its exit is noticed.
    return [errorText(error)];
  }
}
