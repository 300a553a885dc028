/** What this node asks of a peer's software before a link is operational. */

import type { RuntimeFacts } from '@claw/contracts';
import { linkError } from '../errors.ts';

export interface LinkPolicy {
  /**
   * `require`: the peer's integrity hash must equal ours. `warn`: a difference is
   * shown in the status. `off`: not looked at. Default `warn`.
   */
  readonly integrity: 'require' | 'warn' | 'off';
  /** Lowest and highest package version of a peer, both included; absent means no bound. */
  readonly minVersion?: string | undefined;
  readonly maxVersion?: string | undefined;
}

/** Version of the handshake and sub-channel protocol that this code speaks. */
export const PROTOCOL_VERSION = 1;

/**
 * Checks a peer's facts; returns warnings for the status.
 * @throws ClawError `LINK_VERSION_REFUSED` or `LINK_INTEGRITY_MISMATCH`.
 */
export function checkPolicy(policy: LinkPolicy, own: RuntimeFacts, peer: RuntimeFacts): string[] {
  const { minVersion, maxVersion } = policy;
  const tooOld = minVersion !== undefined && compareVersions(peer.version, minVersion) < 0;
  const tooNew = maxVersion !== undefined && compareVersions(peer.version, maxVersion) > 0;
  if (tooOld || tooNew) {
    const range = `${minVersion ?? 'any'} to ${maxVersion ?? 'any'}`;
    throw linkError('LINK_VERSION_REFUSED', `version ${peer.version} is outside the permitted range, ${range}`);
  }
  if (policy.integrity === 'off' || peer.integrity === own.integrity) return [];
  const difference = `its software differs from ours (integrity ${peer.integrity.slice(0, 12)}…, ours ${own.integrity.slice(0, 12)}…)`;
  if (policy.integrity === 'require') throw linkError('LINK_INTEGRITY_MISMATCH', difference);
  return [difference];
}

/** Orders two versions by Semantic Versioning 2.0.0 §11. */
export function compareVersions(left: string, right: string): number {
  const [leftCore = [], leftPre] = split(left);
  const [rightCore = [], rightPre] = split(right);
  const core = compareLists(leftCore, rightCore);
  if (core !== 0 || (!leftPre && !rightPre)) return core;
  if (!leftPre || !rightPre) return leftPre ? -1 : 1; // a pre-release comes before its release
  return compareLists(leftPre, rightPre);
}

function split(version: string): [core: string[], pre: string[] | undefined] {
  const [core = '', ...pre] = (version.split('+')[0] as string).split('-');
  return [core.split('.'), pre.length > 0 ? pre.join('-').split('.') : undefined];
}

function compareLists(left: string[], right: string[]): number {
  for (let index = 0; index < Math.max(left.length, right.length); index += 1) {
    const a = left[index];
    const b = right[index];
    if (a === undefined || b === undefined) return a === undefined ? -1 : 1;
    const order = compareIdentifiers(a, b);
    if (order !== 0) return order;
  }
  return 0;
}

function compareIdentifiers(a: string, b: string): number {
  const aNumeric = /^\d+$/.test(a);
  const bNumeric = /^\d+$/.test(b);
  if (aNumeric && bNumeric) return Math.sign(Number(a) - Number(b));
  if (aNumeric !== bNumeric) return aNumeric ? -1 : 1;
  return a < b ? -1 : a > b ? 1 : 0;
}
