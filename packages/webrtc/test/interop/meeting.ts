/** Two peers and the signaling between them, in order each way, as a server would carry it. */

import type { CandidateInit, Signal } from './agent.ts';
import type { LossyPath } from './lossy-path.ts';
import type { InteropPeer, PeerKind } from './peer.ts';
import { type OurPeer, ourPeer } from './peers/ours.ts';

export interface Roles {
  readonly offerer: 'we' | 'they';
  readonly dtlsClient: 'offerer' | 'answerer';
}

export interface MeetingOptions {
  readonly ours?: Readonly<Record<string, unknown>>;
  readonly theirs?: Readonly<Record<string, unknown>>;
  /** Changes a candidate on its way, or keeps it back. */
  readonly carry?: (candidate: CandidateInit, from: 'we' | 'they') => CandidateInit | undefined;
  /** The caller's. */
  readonly path?: LossyPath | undefined;
}

/** One direction: candidates wait while a description of the same peer is on its way. */
class Way {
  readonly #from: InteropPeer;
  readonly #to: InteropPeer;
  #last: Promise<void> = Promise.resolve();
  #held: CandidateInit[] | undefined = [];
  readonly errors: unknown[] = [];

  constructor(from: InteropPeer, to: InteropPeer, carry: (candidate: CandidateInit) => CandidateInit | undefined) {
    this.#from = from;
    this.#to = to;
    from.onSignal = (signal) => {
      if (!('candidate' in signal)) return;
      const candidate = carry(signal.candidate);
      if (candidate === undefined) return;
      if (this.#held) this.#held.push(candidate);
      else this.#push(candidate);
    };
  }

  async describe(type: 'offer' | 'answer', change: (sdp: string) => string = (sdp) => sdp): Promise<void> {
    this.#held ??= [];
    const { sdp } = await this.#from.describe(type);
    await this.#last;
    await this.#to.accept({ type, sdp: change(sdp) });
  }

  /** The peer has both descriptions. */
  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const candidate of held) this.#push(candidate);
  }

  #push(candidate: CandidateInit): void {
    const add = () => this.#to.candidate(candidate);
    this.#last = this.#last.then(add).catch((error: unknown) => void this.errors.push(error));
  }
}

export class Meeting implements AsyncDisposable {
  readonly we: OurPeer;
  readonly they: InteropPeer;
  readonly kind: PeerKind;
  readonly roles: Roles;
  readonly path: LossyPath | undefined;
  #hasRoles = false;
  #isOver = false;
  readonly #passing: Promise<void>[] = [];
  readonly #ways: { readonly we: Way; readonly they: Way };

  /** Neither has described anything yet. `they` becomes the meeting's. */
  static async arrange(
    kind: PeerKind,
    they: InteropPeer,
    roles: Roles,
    { ours = {}, theirs = {}, path, carry = path?.carry ?? ((candidate) => candidate) }: MeetingOptions = {},
  ): Promise<Meeting> {
    const meeting = new Meeting(kind, ourPeer(), they, roles, carry, path);
    await meeting.we.start(ours);
    await they.start(theirs);
    return meeting;
  }

  private constructor(
    kind: PeerKind,
    we: OurPeer,
    they: InteropPeer,
    roles: Roles,
    carry: NonNullable<MeetingOptions['carry']>,
    path: LossyPath | undefined,
  ) {
    this.kind = kind;
    this.we = we;
    this.they = they;
    this.roles = roles;
    this.path = path;
    this.#ways = {
      we: new Way(we, they, (candidate) => carry(candidate, 'we')),
      they: new Way(they, we, (candidate) => carry(candidate, 'they')),
    };
  }

  get offerer(): InteropPeer {
    return this.roles.offerer === 'we' ? this.we : this.they;
  }

  get answerer(): InteropPeer {
    return this.roles.offerer === 'we' ? this.they : this.we;
  }

  /** Offer and answer; again for a restart. */
  async negotiate(offerer: 'we' | 'they' = this.roles.offerer): Promise<void> {
    const offering = this.#ways[offerer];
    const answering = this.#ways[offerer === 'we' ? 'they' : 'we'];
    const isActive = this.roles.dtlsClient === 'offerer' && !this.#hasRoles;
    this.#hasRoles = true;
    // To an offer that says it will be active an answer is passive. Roles once taken stay.
    const toRole = (sdp: string) => (isActive ? sdp.replace('a=setup:actpass', 'a=setup:active') : sdp);
    // A path of ours is not gone round by candidates that are in the description already.
    const toPath = (sdp: string) => (this.path ? sdp.replaceAll(/a=(?:candidate:|end-of-candidates).*\r\n/g, '') : sdp);
    await offering.describe('offer', (sdp) => toPath(toRole(sdp)));
    await answering.describe('answer', toPath);
    offering.release();
    answering.release();
  }

  /** Descriptions with all candidates in them, and nothing after. */
  async negotiateWhole(): Promise<void> {
    const { offerer, answerer } = this;
    await offerer.describe('offer');
    await answerer.accept(await offerer.gathered());
    await answerer.describe('answer');
    await offerer.accept(await answerer.gathered());
  }

  /** Passes on whatever the two say, for those that negotiate by themselves. */
  connectSignals(): void {
    const pass = (to: InteropPeer) => {
      let last = Promise.resolve();
      return (signal: Signal) => {
        last = last.then(() => (this.#isOver ? undefined : to.signal(signal)));
        this.#passing.push(last);
      };
    };
    this.we.onSignal = pass(this.they);
    this.they.onSignal = pass(this.we);
  }

  /** What was refused on the way. */
  get errors(): unknown[] {
    return [...this.#ways.we.errors, ...this.#ways.they.errors];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Nobody is there to hear what is said from now on.
    this.#isOver = true;
    await Promise.all(this.#passing);
    await this.we[Symbol.asyncDispose]();
    await this.they[Symbol.asyncDispose]();
  }
}
