/** A cell of the matrix: a small scenario between our stack and a peer, in one combination of roles. */

import type { Meeting, MeetingOptions } from './meeting.ts';
import type { InteropPeer, PeerKind } from './peer.ts';

export type CellName =
  | 'open'
  | 'DTLS 1.2'
  | 'whole descriptions'
  | 'statistics'
  | 'ICE restart by us'
  | 'ICE restart by them'
  | 'glare, we are polite'
  | 'glare, they are polite'
  | 'glare of restarts, we are polite'
  | 'glare of restarts, they are polite'
  | 'sound turned down'
  | 'in-band channels'
  | 'negotiated channels'
  | 'late channels'
  | 'names of channels'
  | '1,000 channels'
  | '1,000 negotiated channels'
  | 'messages of every size'
  | '16 MiB messages'
  | 'greatest message'
  | 'bulk both ways'
  | 'loss, reliable'
  | 'loss, every reliability'
  | 'channel closed by us'
  | 'channel closed by them'
  | 'messages before a close by us'
  | 'messages before a close by them'
  | 'connection closed by us'
  | 'connection closed by them';

export interface Cell {
  /** Combinations of roles that the gate runs it in; the long mode runs all four. */
  readonly gate: 'all' | 'we offer' | 'they offer' | 'none';
  readonly options?: (kind: PeerKind) => MeetingOptions;
  /** Needs a path that loses datagrams. */
  readonly isLossy?: boolean;
  run(meeting: Meeting): Promise<void>;
}

/** Each direction: who sends, who receives, and their names for messages. */
export function directions({ we, they }: Meeting): { from: InteropPeer; to: InteropPeer; name: 'we' | 'they' }[] {
  return [
    { from: we, to: they, name: 'we' },
    { from: they, to: we, name: 'they' },
  ];
}

/** Connects by one channel that the offerer opens, and waits until both have it. */
export async function connect(meeting: Meeting, label = 'first'): Promise<void> {
  await meeting.offerer.open(label);
  await meeting.negotiate();
  await Promise.all([meeting.we.opened(label), meeting.they.opened(label)]);
}
