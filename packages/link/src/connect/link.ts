/**
 * An operational link to one peer. Made by a {@link LinkAttempt} after both
 * handshakes; from here on it is streams, messages and, at the end, one reason.
 */

import type { ClawError } from '@claw/base';
import type { NodeId, RtcPathStats, RtcPeerConnection, RuntimeFacts } from '@claw/contracts';
import type { LinkErrorCode } from '../errors.ts';
import type { Reliability } from '../session/lanes.ts';
import type { LinkStream } from '../session/link-stream.ts';
import type { MessageChannel } from '../session/message-channel.ts';
import type { Session, SessionStats } from '../session/session.ts';

/** Milliseconds since the attempt began, per phase; what did not happen on this side is absent. */
export interface SetupPhases {
  /** The offer (offerer) or the answer (answerer) was handed to the carriers. */
  described?: number;
  /** The answer arrived (offerer). */
  answered?: number;
  /** ICE found a path and DTLS was done. */
  connected?: number;
  /** The inner handshake was done on this side. */
  authenticated?: number;
  /** The data channels were open. */
  channelsOpen?: number;
  /** Application bytes may move. */
  operational?: number;
}

export interface LinkFacts {
  readonly peer: NodeId;
  readonly role: 'client' | 'server';
  readonly phases: Readonly<SetupPhases>;
  readonly peerRuntime: RuntimeFacts;
  readonly warnings: readonly string[];
  readonly cipher: string;
  readonly keyExchange: string;
  /** Wall-clock time at which it became operational. */
  readonly sinceMs: number;
}

export class Link {
  readonly facts: LinkFacts;
  /** Resolves with the reason when the link has ended. */
  readonly ended: Promise<ClawError>;
  readonly #session: Session;
  readonly #connection: RtcPeerConnection;

  constructor(facts: LinkFacts, session: Session, connection: RtcPeerConnection, ended: Promise<ClawError>) {
    this.facts = facts;
    this.ended = ended;
    this.#session = session;
    this.#connection = connection;
  }

  get peer(): NodeId {
    return this.facts.peer;
  }

  /** Opens a stream for `service`; writes may begin at once, `accepted` tells whether the peer took it. */
  openStream(service: string, meta?: Uint8Array): LinkStream {
    return this.#session.openStream(service, meta);
  }

  /** Opens a message channel. Default reliability: reliable and ordered. */
  openMessages(
    service: string,
    reliability: Reliability = { ordered: true, reliable: true },
    meta?: Uint8Array,
  ): MessageChannel {
    return this.#session.openMessages(service, reliability, meta);
  }

  /** One round trip in milliseconds. */
  ping(): Promise<number> {
    return this.#session.ping();
  }

  stats(): SessionStats {
    return this.#session.stats();
  }

  path(): Promise<RtcPathStats | undefined> {
    return this.#connection.getPathStats();
  }

  /** Tells the peer and ends the link; every stream on it ends with the same code. Idempotent. */
  close(code: LinkErrorCode = 'LINK_CLOSED', reason = 'the link was closed'): void {
    this.#session.close(code, reason);
  }
}
