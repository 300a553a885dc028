/** What a running node knows to be wrong, and what to type about it. */

import { describePeers } from './describe.ts';
import type { Node } from './node.ts';
import type { DoctorView, PeerView } from './views.ts';

type Check = DoctorView['checks'][number];

const ADVICE: Readonly<Record<string, string>> = {
  LINK_NO_PATH: 'No direct way was found. Behind different routers, set "iceServers" in claw.json on both sides.',
  LINK_HANDSHAKE_TIMEOUT:
    'Is the other node up, and do both share a relay or a local network? Look at "claw status" there.',
  LINK_INTEGRITY_MISMATCH: 'Install the same build on both, or set policy.integrity to "warn" in claw.json.',
  LINK_VERSION_REFUSED: 'Update the older side, or widen policy.minVersion and policy.maxVersion in claw.json.',
  LINK_IDENTITY_WRONG: 'The other machine has a new node key. If you expected that: unpair, then pair anew.',
  LINK_CERTIFICATE_EXPIRED: 'The clocks differ by minutes: set both (timedatectl set-ntp true).',
  LINK_SHUTDOWN: 'The other node was stopped: start it there with "claw up".',
};

export async function diagnose(node: Node): Promise<DoctorView> {
  const peers = await describePeers(node);
  return { checks: [checkKey(node), ...checkCarriers(node), ...peers.map(checkPeer), ...checkSettings(node)] };
}

function checkKey({ keyHolder }: Node): Check {
  const { protection, confinement } = keyHolder;
  const name = 'node key';
  if (!confinement.seccomp)
    return { name, state: 'warn', detail: `its process is not confined: ${confinement.detail}` };
  if (protection === 'none') {
    return {
      name,
      state: 'ok',
      detail: 'in a file of mode 0600, its process confined',
      fix: 'To encrypt it: claw down && claw up --protect passphrase',
    };
  }
  return { name, state: 'ok', detail: `encrypted (${protection}), its process confined` };
}

function checkCarriers({ router }: Node): Check[] {
  const carriers = router.carriers();
  const checks = carriers.map(
    ({ name, state, detail }): Check => ({
      name: `signaling by ${name}`,
      state: state === 'up' ? 'ok' : 'warn',
      detail: `${state}: ${detail}`,
    }),
  );
  if (carriers.some(({ state }) => state === 'up')) return checks;
  return [
    ...checks,
    {
      name: 'signaling',
      state: 'fail',
      detail: 'no way to reach any peer is up',
      fix: 'Start a relay both sides can reach ("claw relay") and name it: claw pair --new --relay ws://HOST:PORT',
    },
  ];
}

function checkPeer(peer: PeerView): Check {
  const name = `peer ${peer.name}`;
  if (peer.state === 'removed-by-peer') {
    return {
      name,
      state: 'fail',
      detail: 'it unpaired from this node',
      fix: `claw unpair ${peer.name}, and pair again if that was a mistake`,
    };
  }
  if (peer.link) {
    const warning = peer.link.warnings[0];
    return warning
      ? { name, state: 'warn', detail: `linked, but ${warning}` }
      : { name, state: 'ok', detail: 'linked' };
  }
  const last = peer.lastError;
  if (!last) return { name, state: 'warn', detail: `${peer.state}; no attempt has ended yet` };
  const fix = ADVICE[last.code];
  return {
    name,
    state: 'warn',
    detail: `${peer.state}; last: ${last.message} [${last.code}]`,
    ...(fix !== undefined && { fix }),
  };
}

function checkSettings({ settingsNotes }: Node): Check[] {
  if (!settingsNotes.error) return [];
  return [
    {
      name: 'settings in force',
      state: 'fail',
      detail: `claw.json changed and cannot be used, the node goes on with what it read before: ${settingsNotes.error.message}`,
    },
  ];
}
