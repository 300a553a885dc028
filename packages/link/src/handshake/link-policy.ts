/** What this node asks of a peer's software before a link is operational. */

import { compareVersions } from '@claw/base';
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
