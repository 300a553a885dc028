/** One tcpdump for each node, on all its interfaces. */

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock, withDeadline } from '@claw/base';
import { hasProgram } from './can-use-lab.ts';
import { labError } from './errors.ts';
import type { NodePlan } from './node-plan.ts';
import type { NodeRunner } from './node-runner.ts';

const SETTLE_MS = 200;
const DEADLINE_MS = 5000;

export class Captures {
  readonly #children: readonly ChildProcess[];

  private constructor(children: readonly ChildProcess[]) {
    this.#children = children;
  }

  /** Resolves when all capture. Files are NODE.pcap in `folder`, which is made. */
  static async open(nodes: Iterable<NodePlan>, runner: NodeRunner, folder: string): Promise<Captures> {
    if (!hasProgram('tcpdump')) {
      const hint = 'Install the Debian package tcpdump.';
      throw labError('LAB_PROGRAM_MISSING', 'captures need tcpdump', { hint });
    }
    mkdirSync(folder, { recursive: true });
    const children = await Promise.all([...nodes].map((node) => start(node, runner, folder)));
    return new Captures(children);
  }

  /** Lets each write what it has. */
  async close(): Promise<void> {
    // What they have not read yet, on a busy machine, they would leave.
    await new Promise<void>((resolve) => systemClock.setTimer(SETTLE_MS, resolve));
    await Promise.all(
      this.#children.map(async (child) => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        const ended = once(child, 'exit');
        child.kill('SIGINT');
        // What does not end is ended with the lab's group.
        await withDeadline(systemClock, ended, DEADLINE_MS, () => new Error('late')).catch(() => {});
      }),
    );
  }
}

async function start(node: NodePlan, runner: NodeRunner, folder: string): Promise<ChildProcess> {
  const file = join(folder, `${node.name}.pcap`);
  const options = ['-i', 'any', '-n', '-U', '--immediate-mode', '-Z', 'root', '-w', file];
  const child = runner.spawnForLab(node, ['tcpdump', ...options], { stdio: ['ignore', 'ignore', 'pipe'] });
  const said: string[] = [];
  const failed = (what: string) =>
    labError('LAB_SERVICE_FAILED', `tcpdump on ${node.name} ${what}: ${said.join('').trim()}`);
  const listens = new Promise<void>((resolve, reject) => {
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said.push(text);
      if (said.join('').includes('listening on')) resolve();
    });
    child.once('exit', () => reject(failed('ended')));
  });
  await withDeadline(systemClock, listens, DEADLINE_MS, () => failed('did not start'));
  return child;
}
