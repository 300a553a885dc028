/** Whether this machine and this user can build a laboratory, and if not, why, in a sentence. */

import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { errorText } from '@claw/base';
import { findHierarchy } from './control-group.ts';
import { nativeProgram } from './native.ts';

export type LabAvailability = { readonly ok: true } | { readonly ok: false; readonly reason: string };

let known: LabAvailability | undefined;

/** Compiles the lab's C programs when they are not yet. The answer is kept. */
export function canUseLab(): LabAvailability {
  known ??= probe();
  return known;
}

/** Whether a program is on the path. */
export function hasProgram(name: string): boolean {
  return (process.env['PATH'] ?? '').split(':').some((folder) => folder !== '' && existsSync(`${folder}/${name}`));
}

function probe(): LabAvailability {
  const no = (reason: string): LabAvailability => ({ ok: false, reason });
  if (process.platform !== 'linux') return no(`the lab needs Linux, and this is ${process.platform}`);
  for (const [program, package_] of [
    ['ip', 'iproute2'],
    ['nft', 'nftables'],
  ] as const) {
    if (!hasProgram(program)) return no(`${program} is not installed (Debian package ${package_})`);
  }
  const made = spawnSync('unshare', ['--net', '--mount', 'true'], { encoding: 'utf8' });
  if (made.status !== 0) return no('no permission to make network namespaces (root or CAP_SYS_ADMIN is needed)');
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
  } catch {
    return no('/dev/net/tun is missing or not ours to open: no TUN or TAP interfaces');
  }
  const hierarchy = findHierarchy();
  if (!hierarchy) return no('no control group hierarchy of version 2 is mounted');
  try {
    accessSync(hierarchy, constants.W_OK);
  } catch {
    return no(`no permission to make control groups in ${hierarchy}`);
  }
  try {
    nativeProgram('netd');
    nativeProgram('enter');
  } catch (error) {
    return no(errorText(error));
  }
  return { ok: true };
}
