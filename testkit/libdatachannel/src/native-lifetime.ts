/**
 * Who of the library's objects lives. They run on threads of their own and call
 * back into memory that the garbage collector owns, so each is held from its
 * making until the library has reported it closed; and what is left at the end
 * of the process is closed before its threads lose the ground under them.
 */

import { cleanup, type PeerConnection } from 'node-datachannel';

const held = new Set<PeerConnection>();

export function hold(connection: PeerConnection): void {
  if (held.size === 0) process.on('exit', closeAll);
  held.add(connection);
}

export function release(connection: PeerConnection): void {
  held.delete(connection);
  if (held.size === 0) process.off('exit', closeAll);
}

/** How many native connections have not ended yet. */
export function heldConnections(): number {
  return held.size;
}

function closeAll(): void {
  try {
    cleanup();
  } catch {
    // The process ends either way.
  }
}
