/** An agent without a network: what it asks for and sends is written down, what it hears is made up. */

import { seededRandom } from '@claw/testkit';
import { type CheckRequest, encodeCheck, encodeCheckSuccess } from '../src/agent/check-messages.ts';
import {
  IceAgent,
  type IceAgentOptions,
  type IceRequest,
  type IceServerError,
  type IceState,
  type TransportAddress,
} from '../src/index.ts';
import { decodeStun, type StunMessage } from '../src/stun/message.ts';

export const PEER = { usernameFragment: 'peer', password: 'peerpeerpeerpeerpeerpeer' };
export const PEER_ADDRESS: TransportAddress = { address: '192.0.2.7', port: 7000 };
export const LOCAL: TransportAddress = { address: '192.0.2.1', port: 5000 };

export interface SentPacket {
  readonly id: number;
  readonly bytes: Buffer;
  readonly remote: TransportAddress;
  readonly prefix: Buffer | undefined;
}

export class BareAgent {
  readonly agent: IceAgent;
  readonly sent: SentPacket[] = [];
  readonly requests: IceRequest[] = [];
  readonly heard: string[] = [];
  readonly states: IceState[] = [];
  readonly serverErrors: IceServerError[] = [];
  /** How often it wanted the addresses of the machine. */
  addressesWanted = 0;
  /** How often it told that there are no more candidates. */
  gatheringEnds = 0;
  readonly random = seededRandom(99);
  nowMs = 0;

  constructor(options: Partial<IceAgentOptions> = {}) {
    this.agent = new IceAgent({
      controlling: true,
      random: seededRandom(5),
      tcpTypes: [],
      ...options,
      output: {
        send: (id, bytes, remote, prefix) =>
          this.sent.push({ id, bytes: Buffer.from(bytes), remote, prefix: prefix && Buffer.from(prefix) }),
        request: (request) => this.requests.push(request),
        onDatagram: (bytes) => this.heard.push(Buffer.from(bytes).toString('latin1')),
        onCandidate: (candidate) => {
          if (!candidate) this.gatheringEnds += 1;
        },
        onServerError: (error) => this.serverErrors.push(error),
        onAddressesWanted: () => {
          this.addressesWanted += 1;
        },
        onStateChange: (state) => this.states.push(state),
      },
    });
  }

  /** Gathers one address; the socket is open at once. Its transport id. */
  open(): number {
    this.agent.gather([{ address: LOCAL.address }], this.nowMs);
    const bind = this.requests.find((request) => request.type === 'bind-udp')!;
    this.agent.transportOpened(bind.id, LOCAL, this.nowMs);
    return bind.id;
  }

  /** Knows the peer and one candidate of it. */
  meet(isLite = false): void {
    this.agent.setRemoteParameters({ ...PEER, isLite }, this.nowMs);
    const base = { foundation: '1', component: 1, protocol: 'udp', priority: 2_130_706_431, type: 'host' } as const;
    this.agent.addRemoteCandidate({ ...base, ...PEER_ADDRESS }, this.nowMs);
  }

  /** Lets `ms` pass, with every time-out on the way. */
  wait(ms: number): void {
    const untilMs = this.nowMs + ms;
    while (this.agent.deadlineMs <= untilMs) {
      this.nowMs = Math.max(this.nowMs, this.agent.deadlineMs);
      this.agent.handleTimeout(this.nowMs);
    }
    this.nowMs = untilMs;
  }

  /** A check as the peer would send it. */
  check(changes: Partial<CheckRequest> = {}): Buffer {
    return encodeCheck({
      id: this.random.bytes(12),
      local: PEER,
      remote: this.agent.localParameters,
      priority: 1_845_501_695,
      isControlling: !this.agent.isControlling,
      tieBreaker: 1n,
      nominate: false,
      nomination: undefined,
      ...changes,
    });
  }

  hear(id: number, bytes: Uint8Array, from = PEER_ADDRESS): void {
    this.agent.receive(id, bytes, from, this.nowMs);
  }

  /** Answers every check sent so far, as the peer would. */
  answerChecks(id: number, peer = PEER, from?: TransportAddress): void {
    for (const { message, remote } of this.take('request')) {
      this.hear(id, encodeCheckSuccess(message, LOCAL, peer), from ?? remote);
    }
  }

  /** Messages of a class that were sent since the last time, with where they went. */
  take(stunClass: StunMessage['class']): { message: StunMessage; remote: TransportAddress }[] {
    const taken = this.sent.splice(0).map(({ bytes, remote }) => ({ message: decodeStun(bytes), remote }));
    return taken.flatMap(({ message, remote }) => (message?.class === stunClass ? [{ message, remote }] : []));
  }
}
