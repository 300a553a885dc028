/** A topology that exists: what the runner, the self-test and the contestants see of it. */

import type { ChildProcess, SpawnOptions } from 'node:child_process';
import type { ScenarioEvent } from '@claw/scenarios';
import type { LabServices } from '../contestants/contract.ts';

export interface Lab extends AsyncDisposable {
  readonly services: LabServices;
  /** Runs a program on a node. The lab ends what still runs when it closes. */
  spawn(node: string, command: readonly [string, ...string[]], options?: SpawnOptions): ChildProcess;
  /** Carries an event out. Throws LAB_EVENT_UNSUPPORTED for what a kernel cannot do. */
  apply(event: ScenarioEvent): Promise<void>;
  /** Packets and bytes over all interfaces of a node since the lab opened, loopback left out. */
  traffic(node: string): {
    readonly packetsOut: number;
    readonly packetsIn: number;
    readonly bytesOut: number;
    readonly bytesIn: number;
  };
  /** CPU time of all processes on a node so far, those ended included, milliseconds. */
  cpuMs(node: string): number;
  close(): Promise<void>;
}
