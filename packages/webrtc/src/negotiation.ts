/**
 * Offer and answer (JSEP, RFC 8829 §3.2 and §4.1) for one data section: which descriptions are proposed and which
 * are agreed on, and which ICE credentials they name. It knows no transport: what a change asks for is the caller's to do.
 *
 * Invariant: an offer that is not answered has changed nothing that cannot be taken back.
 */

import type { IceParameters } from '@claw/ice';
import { engineError } from './errors.ts';
import type { DataDescription, Setup } from './session-description.ts';

export interface SessionDescription {
  readonly type: 'offer' | 'answer';
  readonly sdp: string;
}

export type NegotiationState = 'stable' | 'have-local-offer' | 'have-remote-offer';

/** Both descriptions of one exchange, and what the peer's says. */
export interface Agreement {
  readonly local: SessionDescription;
  readonly remote: SessionDescription;
  readonly facts: DataDescription;
}

/** What a description of ours is written from. */
export interface LocalFacts {
  readonly credentials: IceParameters;
  readonly setup: Setup;
  /** The peer's, proposed or agreed on. */
  readonly remote: DataDescription | undefined;
  /** Its candidates are told once it is set. */
  readonly isRestart: boolean;
}

/** What a description changes. */
export interface Change {
  /** ICE is to restart with these. */
  readonly restart: IceParameters | undefined;
  readonly agreement: Agreement | undefined;
}

interface Made {
  readonly description: SessionDescription;
  readonly credentials: IceParameters;
}

const STATES = {
  offer: { local: ['stable', 'have-local-offer'], remote: ['stable', 'have-local-offer', 'have-remote-offer'] },
  answer: { local: ['have-remote-offer'], remote: ['have-local-offer'] },
} as const;

export class Negotiation {
  readonly #makeCredentials: () => IceParameters;
  #credentials: IceParameters;
  /** For the next description that restarts ICE. */
  #nextCredentials: IceParameters | undefined;
  /** `[[LocalIceCredentialsToReplace]]` of the W3C: a restart is wanted as long as these are in force. */
  #credentialsToReplace: IceParameters | undefined;
  #made: Partial<Record<'offer' | 'answer', Made>> = {};
  #setup: 'active' | 'passive' | undefined;
  #agreement: Agreement | undefined;
  /** `former`: the credentials that a rollback goes back to. */
  #localOffer: { readonly description: SessionDescription; readonly former: IceParameters } | undefined;
  #remoteOffer: { readonly description: SessionDescription; readonly facts: DataDescription } | undefined;

  constructor(makeCredentials: () => IceParameters) {
    this.#makeCredentials = makeCredentials;
    this.#credentials = makeCredentials();
  }

  get state(): NegotiationState {
    if (this.#localOffer) return 'have-local-offer';
    return this.#remoteOffer ? 'have-remote-offer' : 'stable';
  }

  get agreement(): Agreement | undefined {
    return this.#agreement;
  }

  get pendingLocal(): SessionDescription | undefined {
    return this.#localOffer?.description;
  }

  get pendingRemote(): SessionDescription | undefined {
    return this.#remoteOffer?.description;
  }

  /** What the peer's last description says. */
  get remoteFacts(): DataDescription | undefined {
    return this.#remoteOffer?.facts ?? this.#agreement?.facts;
  }

  /** Of the description that was set last. */
  get credentials(): IceParameters {
    return this.#credentials;
  }

  /** Who begins the DTLS handshake: taken with the first agreement, and kept (RFC 8842 §5.5). */
  get setup(): 'active' | 'passive' | undefined {
    return this.#setup;
  }

  get wantsRestart(): boolean {
    return this.#credentialsToReplace === this.#credentials;
  }

  /** The next offer has other credentials (W3C WebRTC §4.4.2, `restartIce`). */
  restartIce(): void {
    if (this.#agreement || this.#localOffer) this.#credentialsToReplace = this.#credentials;
  }

  /** Whether such a description fits the state. @throws ClawError `ENGINE_STATE_INVALID` */
  expect(type: 'offer' | 'answer', side: 'local' | 'remote', what: string): void {
    const expected: readonly NegotiationState[] = STATES[type][side];
    if (expected.includes(this.state)) return;
    const whose = side === 'local' ? 'an' : "the peer's";
    throw engineError('ENGINE_STATE_INVALID', `cannot ${what} ${whose} ${type} in the state ${this.state}`);
  }

  /** @throws ClawError `ENGINE_STATE_INVALID` */
  make(type: 'offer' | 'answer', write: (facts: LocalFacts) => string): SessionDescription {
    this.expect(type, 'local', 'make');
    const isRestart = type === 'offer' ? this.wantsRestart : this.#peerRestarts;
    const credentials = isRestart ? (this.#nextCredentials ??= this.#makeCredentials()) : this.#credentials;
    const remote = this.remoteFacts;
    const setup = type === 'offer' ? 'actpass' : (this.#setup ?? roleOpposite(remote));
    const description = { type, sdp: write({ credentials, setup, remote, isRestart }) };
    this.#made[type] = { description, credentials };
    return description;
  }

  /** One that was made here. @throws ClawError `ENGINE_STATE_INVALID`, `ENGINE_DESCRIPTION_CHANGED` */
  setLocal({ type, sdp }: SessionDescription): Change {
    this.expect(type, 'local', 'set');
    const made = this.#made[type];
    if (made?.description.sdp !== sdp) {
      throw engineError('ENGINE_DESCRIPTION_CHANGED', `the ${type} is not the one that was made last`);
    }
    const { description, credentials } = made;
    const restart = credentials === this.#credentials ? undefined : credentials;
    const former = this.#localOffer?.former ?? this.#credentials;
    this.#credentials = credentials;
    if (restart) this.#nextCredentials = undefined;
    if (type === 'offer') {
      this.#localOffer = { description, former };
      return { restart, agreement: undefined };
    }
    const offer = this.#remoteOffer;
    return { restart, agreement: offer && this.#agree(description, offer.description, offer.facts) };
  }

  /** The agreement, if it is an answer. An own offer must have been taken back. @throws ClawError `ENGINE_STATE_INVALID` */
  setRemote(description: SessionDescription, facts: DataDescription): Agreement | undefined {
    this.expect(description.type, 'remote', 'set');
    if (description.type === 'offer') {
      this.#remoteOffer = { description, facts };
      return undefined;
    }
    return this.#localOffer && this.#agree(this.#localOffer.description, description, facts);
  }

  /**
   * Takes back an offer, whoever made it (RFC 8829 §4.1.10.2). True when ICE had restarted for it.
   * @throws ClawError `ENGINE_STATE_INVALID`
   */
  rollback(): boolean {
    if (this.state === 'stable') {
      throw engineError('ENGINE_STATE_INVALID', 'there is nothing to roll back in the state stable');
    }
    const { former = this.#credentials } = this.#localOffer ?? {};
    const hadRestarted = former !== this.#credentials;
    // What is wanted to be replaced may be either of the two.
    if (hadRestarted && this.#credentialsToReplace) this.#credentialsToReplace = former;
    this.#credentials = former;
    this.#clearOffers();
    return hadRestarted;
  }

  get #peerRestarts(): boolean {
    const [former, next] = [this.#agreement?.facts.ice, this.#remoteOffer?.facts.ice];
    return former !== undefined && former.usernameFragment !== next?.usernameFragment;
  }

  #agree(local: SessionDescription, remote: SessionDescription, facts: DataDescription): Agreement {
    this.#agreement = { local, remote, facts };
    this.#setup ??= roleOpposite(facts);
    this.#clearOffers();
    return this.#agreement;
  }

  #clearOffers(): void {
    this.#localOffer = undefined;
    this.#remoteOffer = undefined;
    this.#made = {};
  }
}

/** The answerer begins unless it was told otherwise, for its ClientHello may leave at once (RFC 8842 §5.3). */
function roleOpposite(remote: DataDescription | undefined): 'active' | 'passive' {
  return remote?.setup === 'active' ? 'passive' : 'active';
}
