/** Starts the process of the user-space NATs and leads their routers' packets to it. */

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { NatSpec } from '@claw/scenarios';
import { labError } from '../errors.ts';
import type { NodePlan } from '../node-plan.ts';
import type { NodeRunner } from '../node-runner.ts';
import type { NatdOrder, NatdRouter } from './natd.ts';
import { NAT_MARK, NAT_TUN } from './ruleset.ts';

const ROUTE_TABLE = 100;

export class UserNat {
  readonly #child: ChildProcess;
  readonly #routers: readonly NodePlan[];

  private constructor(child: ChildProcess, routers: readonly NodePlan[]) {
    this.#child = child;
    this.#routers = routers;
  }

  /** Resolves when the routers' TUNs exist. The lab's own group ends the process. */
  static async open(routers: readonly NodePlan[], runner: NodeRunner, seed: number): Promise<UserNat> {
    const config = routers.map((router, index) => natdRouter(router, seed + index));
    const script = join(import.meta.dirname, 'natd.ts');
    const child = runner.spawnWithTuns(routers, NAT_TUN, [process.execPath, script, JSON.stringify(config)]);
    const complaint: string[] = [];
    child.stderr?.setEncoding('utf8').on('data', (text: string) => complaint.push(text));
    const ended = once(child, 'exit').then(() => {
      throw labError('LAB_SERVICE_FAILED', `the user-space NAT ended: ${complaint.join('').trim()}`);
    });
    if (child.stdout) await Promise.race([once(child.stdout, 'data'), ended]);
    // The lab ends it with SIGKILL; any other end is a fault, after which its routers carry nothing.
    ended.catch((error: Error) => {
      if (child.exitCode !== null) process.emitWarning(error);
    });
    return new UserNat(child, routers);
  }

  /** `ip -batch` lines that send marked packets to the TUN. The local table comes second, for the outside address is local. */
  static steeringLines(router: NodePlan): string[] {
    const outside = router.interfaces.get(router.spec.nat?.outside ?? '');
    return [
      `link set ${NAT_TUN} mtu ${outside?.spec.mtuBytes ?? 1500} txqueuelen 8192 up`,
      `route replace default dev ${NAT_TUN} table ${ROUTE_TABLE}`,
      `rule add pref 10 fwmark ${NAT_MARK} lookup ${ROUTE_TABLE}`,
      'rule add pref 100 lookup local',
      'rule del pref 0',
    ];
  }

  setOutsideAddress(router: NodePlan, outsideAddress: string): void {
    const order: NatdOrder = { router: this.#routers.indexOf(router), outsideAddress };
    if (order.router >= 0) this.#child.stdin?.write(`${JSON.stringify(order)}\n`);
  }
}

function natdRouter(router: NodePlan, seed: number): NatdRouter {
  const spec = router.spec.nat as NatSpec;
  const interfaces = [...router.interfaces.values()];
  return {
    spec,
    outsideAddress: router.interfaces.get(spec.outside)?.ipv4 ?? '',
    insidePrefixes: interfaces.flatMap(({ name, prefixes }) => (name === spec.outside ? [] : (prefixes.ipv4 ?? []))),
    seed,
  };
}
