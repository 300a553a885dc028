/**
 * One UDP socket for several agents, and for protocols that are none of ICE's. Whose a
 * packet is:
 *
 *   a STUN request    the username fragment that it names
 *   a STUN response   the transaction, noted when its request left
 *   DTLS              everybody who has sent to that address, a copy each: agents of two sessions
 *                     between the same two sockets take what their keys open, and drop the rest
 *   anything else     the other protocols
 *
 * What fits none is dropped. Nothing is learnt from what comes in, and answers to strangers
 * teach nothing either, so that nobody makes the tables grow.
 */

import type { TransportAddress } from '../address.ts';
import { peekStun } from '../stun/peek.ts';
import type { IceSocket, SocketEvents } from './ice-sockets.ts';

/** Far more than pairs and servers of an agent; beyond that the one that was used least lately is forgotten. */
const MAX_REMOTES = 512;
/** Requests whose answers may still come, of all agents. */
const MAX_TRANSACTIONS = 16_384;
/** The present one and that from before a restart. */
const MAX_FRAGMENTS = 2;

export class UdpMux {
  /** Packets that were nobody's. */
  dropped = 0;
  readonly #socket: IceSocket;
  readonly #members = new Set<Member>();
  readonly #others = new Set<Other>();
  readonly #byFragment = new Map<string, Member>();
  readonly #byRemote = new Map<string, Set<Member>>();
  readonly #byTransaction = new Map<string, Member>();
  #local: TransportAddress | undefined;
  #isEnded = false;

  /** `onEnd`: the socket failed, and so did all that was on it. */
  constructor(bind: (events: SocketEvents) => IceSocket, onEnd: () => void) {
    this.#socket = bind({
      onOpen: (local) => {
        this.#local = local;
        for (const user of [...this.#members, ...this.#others]) user.opened(local);
      },
      onBytes: (bytes, remote) => this.#receive(bytes, remote),
      onFailure: () => {
        this.#isEnded = true;
        onEnd();
        for (const user of [...this.#members, ...this.#others]) user.failed();
      },
    });
  }

  /** For an agent, which says by `identify` what it is called. */
  join(events: SocketEvents): IceSocket {
    const member = new Member(events, this.#tables, this.#socket);
    this.#members.add(member);
    this.#greet(member);
    return member;
  }

  /** For another protocol: it sees whatever is neither STUN nor DTLS. */
  joinOther(events: SocketEvents): IceSocket {
    const other = new Other(events, this.#others, this.#socket);
    this.#others.add(other);
    this.#greet(other);
    return other;
  }

  /** Everybody on it hears nothing more. */
  close(): void | Promise<void> {
    this.#isEnded = true;
    for (const user of [...this.#members, ...this.#others]) user.close();
    return this.#socket.close();
  }

  #greet(user: Member | Other): void {
    const local = this.#local;
    if (this.#isEnded) queueMicrotask(() => user.failed());
    else if (local) queueMicrotask(() => user.opened(local));
  }

  readonly #tables: MuxTables = {
    leave: (member) => {
      this.#members.delete(member);
      for (const fragment of member.fragments) {
        // Another socket of the same agent may have it since.
        if (this.#byFragment.get(fragment) === member) this.#byFragment.delete(fragment);
      }
      for (const remote of member.remotes) this.#forgetRemote(member, remote);
    },
    identify: (member, fragment) => {
      if (member.fragments.includes(fragment)) return;
      this.#byFragment.set(fragment, member);
      member.fragments.push(fragment);
      if (member.fragments.length > MAX_FRAGMENTS) this.#byFragment.delete(member.fragments.shift() ?? '');
    },
    learn: (member, remote) => {
      const key = keyOf(remote);
      const isKnown = member.remotes.delete(key);
      member.remotes.add(key);
      if (isKnown) return;
      const [oldest] = member.remotes;
      if (member.remotes.size > MAX_REMOTES && oldest !== undefined) this.#forgetRemote(member, oldest);
      const owners = this.#byRemote.get(key);
      if (owners) owners.add(member);
      else this.#byRemote.set(key, new Set([member]));
    },
    expect: (member, transaction) => {
      this.#byTransaction.set(transaction, member);
      const [oldest] = this.#byTransaction.keys();
      if (this.#byTransaction.size > MAX_TRANSACTIONS && oldest !== undefined) this.#byTransaction.delete(oldest);
    },
  };

  #forgetRemote(member: Member, key: string): void {
    member.remotes.delete(key);
    const owners = this.#byRemote.get(key);
    owners?.delete(member);
    if (owners?.size === 0) this.#byRemote.delete(key);
  }

  #receive(bytes: Uint8Array, remote: TransportAddress): void {
    const first = bytes[0] ?? 255;
    if (first < 4) return this.#receiveStun(bytes, remote);
    // DTLS is 20 to 63 (RFC 9443 §3).
    const users = first >= 20 && first < 64 ? this.#byRemote.get(keyOf(remote)) : this.#others;
    if (!users || users.size === 0) this.dropped += 1;
    else for (const user of [...users]) user.deliver(users.size > 1 ? Buffer.from(bytes) : bytes, remote);
  }

  #receiveStun(bytes: Uint8Array, remote: TransportAddress): void {
    const message = peekStun(bytes);
    let owner: Member | undefined;
    if (message?.class === 'request') owner = this.#byFragment.get(message.usernameFragment ?? '');
    else if (message?.class === 'response') {
      owner = this.#byTransaction.get(message.transaction);
      this.#byTransaction.delete(message.transaction);
    }
    if (owner) owner.deliver(bytes, remote);
    else this.dropped += 1;
  }
}

interface MuxTables {
  leave(member: Member): void;
  identify(member: Member, usernameFragment: string): void;
  learn(member: Member, remote: TransportAddress): void;
  expect(member: Member, transaction: string): void;
}

/** What agents and other protocols have in common. */
class User {
  protected isOpen = true;
  readonly #events: SocketEvents;

  constructor(events: SocketEvents) {
    this.#events = events;
  }

  opened(local: TransportAddress): void {
    if (this.isOpen) this.#events.onOpen(local);
  }

  deliver(bytes: Uint8Array, remote: TransportAddress): void {
    if (this.isOpen) this.#events.onBytes(bytes, remote);
  }

  failed(): void {
    if (!this.isOpen) return;
    this.close();
    this.#events.onFailure();
  }

  close(): void {
    this.isOpen = false;
  }
}

class Member extends User implements IceSocket {
  readonly fragments: string[] = [];
  readonly remotes = new Set<string>();
  readonly #tables: MuxTables;
  readonly #socket: IceSocket;
  /** Agents name the end of a pair by one object. */
  #lastRemote: TransportAddress | undefined;

  constructor(events: SocketEvents, tables: MuxTables, socket: IceSocket) {
    super(events);
    this.#tables = tables;
    this.#socket = socket;
  }

  identify(usernameFragment: string): void {
    if (this.isOpen) this.#tables.identify(this, usernameFragment);
  }

  send(bytes: Uint8Array, remote: TransportAddress, prefix: Uint8Array | undefined): void {
    if (!this.isOpen) return;
    const message = !prefix && (bytes[0] ?? 255) < 4 ? peekStun(bytes) : undefined;
    if (message?.class === 'request') this.#tables.expect(this, message.transaction);
    if (message?.class !== 'response' && remote !== this.#lastRemote) {
      this.#lastRemote = remote;
      this.#tables.learn(this, remote);
    }
    this.#socket.send(bytes, remote, prefix);
  }

  override close(): void {
    super.close();
    this.#tables.leave(this);
  }
}

class Other extends User implements IceSocket {
  readonly #all: Set<Other>;
  readonly #socket: IceSocket;

  constructor(events: SocketEvents, all: Set<Other>, socket: IceSocket) {
    super(events);
    this.#all = all;
    this.#socket = socket;
  }

  send(bytes: Uint8Array, remote: TransportAddress, prefix: Uint8Array | undefined): void {
    if (this.isOpen) this.#socket.send(bytes, remote, prefix);
  }

  override close(): void {
    super.close();
    this.#all.delete(this);
  }
}

function keyOf({ address, port }: TransportAddress): string {
  return `${address} ${port}`;
}
