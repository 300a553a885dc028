/**
 * A path between the two peers that loses datagrams by a seeded chance: they get its address in place of ours, and
 * we hear of theirs only by what comes through it.
 */

import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import type { CandidateInit } from './agent.ts';

const ADDRESS = '127.0.0.1';
/** foundation component udp priority address port typ host */
const UDP_HOST = /^candidate:(\S+) 1 udp (\d+) (\S+) (\d+) typ host/i;

export class LossyPath implements AsyncDisposable {
  /** From 0 to 1; while it is 0, nothing is lost. */
  loss = 0;
  lost = 0;
  readonly #front: Socket;
  readonly #back: Socket;
  readonly #random: () => number;
  #ourPort = 0;
  #theirs: { readonly address: string; readonly port: number } | undefined;

  static async open(random: () => number): Promise<LossyPath> {
    const [front, back] = [createSocket('udp4'), createSocket('udp4')];
    for (const socket of [front, back]) {
      socket.bind(0, ADDRESS);
      await once(socket, 'listening');
    }
    return new LossyPath(front, back, random);
  }

  private constructor(front: Socket, back: Socket, random: () => number) {
    this.#front = front;
    this.#back = back;
    this.#random = random;
    front.on('message', (bytes, { address, port }) => {
      this.#theirs = { address, port };
      if (this.#ourPort && !this.#isLost()) back.send(bytes, this.#ourPort, ADDRESS);
    });
    back.on('message', (bytes) => {
      if (this.#theirs && !this.#isLost()) front.send(bytes, this.#theirs.port, this.#theirs.address);
    });
  }

  /** See `MeetingOptions.carry`. We are on {@link ADDRESS} alone. */
  readonly carry = (candidate: CandidateInit, from: 'we' | 'they'): CandidateInit | undefined => {
    const host = from === 'we' && candidate ? UDP_HOST.exec(candidate.candidate) : null;
    if (!host || !candidate) return undefined;
    this.#ourPort = Number(host[4]);
    const line = `candidate:${host[1]} 1 udp ${host[2]} ${ADDRESS} ${this.#front.address().port} typ host`;
    return { ...candidate, candidate: line };
  };

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of [this.#front, this.#back]) {
      socket.close();
      await once(socket, 'close');
    }
  }

  #isLost(): boolean {
    const isLost = this.#random() < this.loss;
    if (isLost) this.lost += 1;
    return isLost;
  }
}
