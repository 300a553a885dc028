/** Two complete stacks on hosts of a simulated network, introduced to each other by signals that take a while. */

import { writeFileSync } from 'node:fs';
import { isClawError } from '@claw/base';
import { SharedSockets } from '@claw/ice';
import { openSimnet, type Simnet } from '@claw/simnet';
import { SimSockets } from '@claw/simnet/ice';
import { seededRandom } from '@claw/testkit';
import { type RTCConfiguration, RTCPeerConnection } from '../src/index.ts';
import type { Incident, SideName, StackScenario } from './simnet-scenario.ts';

/** Where the packets of a run go, for Wireshark. */
const captureTo = process.env['CLAW_CAPTURE'];

export class Stacks implements Disposable {
  readonly net: Simnet;
  readonly a: RTCPeerConnection;
  readonly b: RTCPeerConnection;
  /** What happened, with its time: the same for the same seed. */
  readonly trace: string[] = [];
  /** What a call into a stack threw. */
  readonly errors: string[] = [];
  readonly #scenario: StackScenario;
  readonly #shared: SharedSockets[] = [];
  #isNegotiating = false;

  constructor(scenario: StackScenario, certificates: Readonly<Record<SideName, RTCConfiguration['certificates']>>) {
    this.#scenario = scenario;
    this.net = openSimnet(scenario.topology, { seed: scenario.seed, record: captureTo !== undefined });
    this.a = this.#open('a', certificates.a);
    this.b = this.#open('b', certificates.b);
  }

  get nowMs(): number {
    return this.net.nowMs;
  }

  note(side: SideName, what: string): void {
    this.trace.push(`${this.nowMs.toFixed(3)} ${side} ${what}`);
  }

  /** Offer and answer; again for a restart. */
  negotiate(iceRestart = false): void {
    if (this.#isNegotiating) return;
    this.#isNegotiating = true;
    const { offerer } = this.#scenario;
    const answerer = offerer === 'a' ? 'b' : 'a';
    const exchange = async () => {
      await this[offerer].setLocalDescription(await this[offerer].createOffer({ iceRestart }));
      const offer = await this.#toTell(offerer);
      this.#signal(async () => {
        await this[answerer].setRemoteDescription(offer);
        await this[answerer].setLocalDescription();
        const answer = await this.#toTell(answerer);
        this.#signal(async () => {
          await this[offerer].setRemoteDescription(answer);
          this.#isNegotiating = false;
        });
      });
    };
    this.attempt('negotiate', exchange);
  }

  /** Lets time pass until `isDone` or the limit; true when done. */
  async run(forMs: number, isDone: () => boolean = () => false): Promise<boolean> {
    const endMs = this.nowMs + forMs;
    let stepMs = 5;
    while (!isDone() && this.nowMs < endMs) {
      await this.net.run(Math.min(endMs, this.nowMs + stepMs));
      stepMs = Math.min(500, stepMs * 1.2);
    }
    return isDone();
  }

  apply(incident: Incident): void {
    if (incident.do === 'set-mtu') this.net.setMtu(incident.node, incident.interface, incident.mtuBytes);
    else if (incident.do === 'rebind') {
      const nat = this.net.nat(incident.router);
      nat.setOutsideAddress(nat.outsideAddress);
    } else this.net.apply(incident);
  }

  /** Calls `what` after a time on the way of signals, or of `delayMs`. */
  later(delayMs: number, what: () => void): void {
    this.net.host('services').clock.setTimer(delayMs, what);
  }

  attempt(name: string, what: () => Promise<void>): void {
    what().catch((error: unknown) => {
      // A signal may come after the end.
      const isOver = this.a.failure !== undefined || this.b.failure !== undefined;
      if (!isOver && !isClawError(error, 'ENGINE_CLOSED')) this.errors.push(`${name}: ${String(error)}`);
    });
  }

  closeSockets(): void {
    for (const sockets of this.#shared.splice(0)) void sockets.close();
  }

  [Symbol.dispose](): void {
    this.a.close();
    this.b.close();
    this.closeSockets();
    if (captureTo) writeFileSync(captureTo, this.net.capture());
    this.net.close();
  }

  #open(side: SideName, certificates: RTCConfiguration['certificates']): RTCPeerConnection {
    const { seed, sides, isTrickling, isRestarting, offerer } = this.#scenario;
    const host = this.net.host(side);
    const { proxy, isSharing, ...options } = sides[side];
    const own = new SimSockets(host, { proxy });
    const sockets = isSharing ? new SharedSockets(own) : own;
    if (sockets instanceof SharedSockets) this.#shared.push(sockets);
    const connection = new RTCPeerConnection({
      ...options,
      ...(certificates ? { certificates } : {}),
      sockets,
      clock: host.clock,
      random: seededRandom(seed * 2 + (side === 'a' ? 0 : 1)),
      maxMessageBytes: 1_048_576,
    });
    const other = side === 'a' ? 'b' : 'a';
    connection.onicecandidate = ({ candidate }) => {
      this.note(side, `candidate ${candidate?.candidate.split(' ').slice(2, 8).join(' ') ?? 'none'}`);
      if (isTrickling) this.#signal(async () => this[other].addIceCandidate(candidate));
    };
    connection.oniceconnectionstatechange = () => this.note(side, `ice ${connection.iceConnectionState}`);
    connection.onconnectionstatechange = () => {
      const { connectionState } = connection;
      this.note(side, `${connectionState}${connection.failure ? `: ${connection.failure.message}` : ''}`);
      if (!isRestarting || side !== offerer || connectionState !== 'disconnected') return;
      this.later(1000, () => {
        if (connection.connectionState === 'disconnected' && connection.signalingState === 'stable') {
          this.note(side, 'restarts');
          this.negotiate(true);
        }
      });
    };
    return connection;
  }

  /** At once when candidates follow, else when all are in it. */
  async #toTell(side: SideName) {
    const connection = this[side];
    if (!this.#scenario.isTrickling && connection.iceGatheringState !== 'complete') {
      await new Promise<void>((resolve) => {
        connection.onicegatheringstatechange = () => {
          if (connection.iceGatheringState === 'complete') resolve();
        };
      });
    }
    const { type, sdp } = connection.localDescription ?? { type: 'none', sdp: '' };
    return { type, sdp };
  }

  #signal(what: () => Promise<void>): void {
    this.later(this.#scenario.signalDelayMs, () => {
      if ([this.a, this.b].every(({ signalingState }) => signalingState !== 'closed')) this.attempt('signal', what);
    });
  }
}
