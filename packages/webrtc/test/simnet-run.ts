/**
 * Runs a scenario and judges it. Whatever happens: reliable messages arrive exactly
 * once (and in order, where that was asked for), the others at most once, nothing is
 * altered; or the connection says that it failed, on both sides. Afterwards nothing
 * is left: no timer, no socket, no packet on its way.
 */

import { type RTCDataChannel, RTCPeerConnection } from '../src/index.ts';
import { Ledger } from './simnet-ledger.ts';
import type { ChannelPlan, SendPlan, SideName, StackScenario } from './simnet-scenario.ts';
import { Stacks } from './simnet-stacks.ts';

export interface Verdict {
  readonly outcome: 'delivered' | 'failed' | 'unconnected';
  /** Empty when all is well. */
  readonly faults: readonly string[];
  readonly trace: readonly string[];
  /** Virtual. */
  readonly connectedAtMs: number | undefined;
  readonly endedAtMs: number;
}

const CONNECT_LIMIT_MS = 90_000;
const TRAFFIC_LIMIT_MS = 600_000;
/** A path that failed may come back. */
const STAYS_DOWN_MS = 10_000;
/** ICE's consent expires after 30 s; the peer may have sent its last sign of life then. */
const AGREE_LIMIT_MS = 90_000;
/** A lost deletion leaves an allocation for 600 s. */
const IDLE_LIMIT_MS = 720_000;
const SIDES = ['a', 'b'] as const;
const other = (side: SideName): SideName => (side === 'a' ? 'b' : 'a');

/** One channel as both ends see it. */
class Traffic {
  readonly plan: ChannelPlan;
  readonly ledgers: Readonly<Record<SideName, Ledger>>;
  readonly ends: Partial<Record<SideName, RTCDataChannel>> = {};
  readonly #stacks: Stacks;
  #plansLeft: number;
  /** Messages that were to be sent when the channel was no longer open. */
  unsent = 0;

  constructor(plan: ChannelPlan, stacks: Stacks) {
    this.plan = plan;
    this.#stacks = stacks;
    const traits = { isReliable: plan.isReliable, isOrdered: plan.init.ordered ?? true };
    this.ledgers = {
      a: new Ledger(`${plan.label} from a`, traits),
      b: new Ledger(`${plan.label} from b`, traits),
    };
    this.#plansLeft = plan.sends.a.length + plan.sends.b.length;
  }

  get isDone(): boolean {
    return this.isAllSent && SIDES.every((side) => this.ledgers[side].isComplete);
  }

  get isClosedAsPlanned(): boolean {
    return !this.plan.isClosed || SIDES.every((side) => this.ends[side]?.readyState === 'closed');
  }

  get isAllSent(): boolean {
    return this.#plansLeft === 0 && SIDES.every((side) => (this.ends[side]?.bufferedAmount ?? 0) === 0);
  }

  attach(side: SideName, channel: RTCDataChannel): void {
    this.ends[side] = channel;
    const stacks = this.#stacks;
    channel.onmessage = ({ data }: MessageEvent) => {
      const ledger = this.ledgers[other(side)];
      ledger.noteReceived(data);
      stacks.note(side, `${this.plan.label} got ${ledger.received}`);
    };
    channel.onclose = () => stacks.note(side, `${this.plan.label} closed`);
    if (channel.readyState === 'open') this.#begin(side, channel);
    else channel.onopen = () => this.#begin(side, channel);
  }

  #begin(side: SideName, channel: RTCDataChannel): void {
    this.#stacks.note(side, `${this.plan.label} open`);
    for (const [at, send] of this.plan.sends[side].entries()) {
      this.#stacks.later(send.atMs, () => {
        this.#plansLeft -= 1;
        if (channel.readyState !== 'open') {
          this.unsent += 1;
          return;
        }
        const data = contentOf(this.plan, side, at, send);
        this.ledgers[side].noteSent(data);
        channel.send(data);
      });
    }
  }
}

export async function runScenario(scenario: StackScenario): Promise<Verdict> {
  const certificates =
    scenario.keyType === 'ed25519'
      ? {
          a: [await RTCPeerConnection.generateCertificate('ed25519')],
          b: [await RTCPeerConnection.generateCertificate('ed25519')],
        }
      : { a: undefined, b: undefined };
  using stacks = new Stacks(scenario, certificates);
  const faults: string[] = [];
  const traffic = scenario.channels.map((plan) => new Traffic(plan, stacks));
  openChannels(stacks, traffic, faults);
  stacks.negotiate();

  const states = () => SIDES.map((side) => stacks[side].connectionState);
  const isUp = () => states().every((state) => state === 'connected');
  const isDown = () => states().some((state) => state === 'failed' || state === 'closed');
  await stacks.run(CONNECT_LIMIT_MS, () => isUp() || isDown());
  const connectedAtMs = isUp() ? stacks.nowMs : undefined;
  let outcome: Verdict['outcome'] = 'unconnected';

  if (connectedAtMs !== undefined) {
    for (const incident of scenario.incidents) stacks.later(incident.atMs, () => stacks.apply(incident));
    const closings = new Set(traffic.filter(({ plan }) => plan.isClosed));
    let hasFailed = false;
    let downSinceMs = Number.POSITIVE_INFINITY;
    const isOver = () => {
      downSinceMs = isDown() ? Math.min(downSinceMs, stacks.nowMs) : Number.POSITIVE_INFINITY;
      for (const each of closings) {
        // Closing ends both directions, so it waits for all.
        if (!each.isDone || each.ends[each.plan.opener]?.readyState !== 'open') continue;
        closings.delete(each);
        each.ends[each.plan.opener]?.close();
      }
      hasFailed ||= stacks.nowMs - downSinceMs >= STAYS_DOWN_MS;
      if (hasFailed) return true;
      return !isDown() && traffic.every((each) => each.isDone && each.isClosedAsPlanned) && closings.size === 0;
    };
    await stacks.run(TRAFFIC_LIMIT_MS, isOver);
    // Late twins of messages would come now.
    await stacks.run(5000);
    outcome = hasFailed || isDown() ? 'failed' : 'delivered';
    if (outcome === 'delivered') faults.push(...missing(traffic));
  }
  faults.push(...traffic.flatMap(({ ledgers }) => SIDES.flatMap((side) => ledgers[side].breaches())));
  if (scenario.canConnect && outcome === 'unconnected' && scenario.mustSurvive) {
    faults.push(`no connection after ${stacks.nowMs} ms: ${states().join(', ')}`);
  }
  if (!scenario.canConnect && outcome !== 'unconnected') faults.push('a connection where there is no path');
  if (outcome === 'failed' && scenario.mustSurvive) {
    faults.push(`failed although nothing happened that it could not survive: ${failures(stacks)}`);
  }
  const endedAtMs = stacks.nowMs;
  await finish(stacks, outcome, scenario, traffic, faults);
  faults.push(...stacks.errors);
  return { outcome, faults, trace: stacks.trace, connectedAtMs, endedAtMs };
}

function openChannels(stacks: Stacks, traffic: readonly Traffic[], faults: string[]): void {
  for (const side of SIDES) {
    stacks[side].ondatachannel = ({ channel }) => {
      const found = traffic.find(({ plan }) => plan.label === channel.label && plan.opener !== side);
      if (!found || found.ends[side]) faults.push(`${side} was told of a channel ${channel.label}`);
      else found.attach(side, channel);
    };
  }
  for (const each of traffic) {
    const { label, init, opener, openAtMs } = each.plan;
    if (openAtMs > 0) {
      stacks.later(openAtMs, () => {
        if (stacks[opener].signalingState !== 'closed' && stacks[opener].connectionState !== 'failed')
          each.attach(opener, stacks[opener].createDataChannel(label, init));
      });
    } else {
      for (const side of SIDES) {
        if (init.negotiated || side === opener) each.attach(side, stacks[side].createDataChannel(label, init));
      }
    }
  }
  // Without a channel of its own the offerer describes none: ours always describe the section.
}

function missing(traffic: readonly Traffic[]): string[] {
  return traffic.flatMap((each) => {
    const faults: string[] = [];
    if (!each.isDone) {
      const counts = SIDES.map((side) => each.ledgers[side].describe()).join(', ');
      const states = SIDES.map((side) => each.ends[side]?.readyState ?? 'absent').join(', ');
      faults.push(`${each.plan.label} is incomplete and nobody says why: ${counts}; ${states}`);
    }
    if (each.unsent > 0) faults.push(`${each.plan.label} closed by itself: ${each.unsent} messages could not be sent`);
    if (each.plan.isClosed) {
      for (const side of SIDES) {
        const state = each.ends[side]?.readyState;
        if (state !== 'closed') faults.push(`${each.plan.label} was closed and is ${state ?? 'absent'} at ${side}`);
      }
    }
    return faults;
  });
}

/** Both agree that it is over, and nothing stays. */
async function finish(
  stacks: Stacks,
  outcome: Verdict['outcome'],
  scenario: StackScenario,
  traffic: readonly Traffic[],
  faults: string[],
): Promise<void> {
  const [first, second] = scenario.seed % 2 === 0 ? SIDES : [SIDES[1], SIDES[0]];
  const isOver = (side: SideName) => ['failed', 'closed', 'disconnected'].includes(stacks[side].connectionState);
  const isFailed = (side: SideName) => stacks[side].connectionState === 'failed';
  if (outcome === 'delivered') stacks[first].close();
  // A path that failed may have come back.
  const isUp = (side: SideName) => outcome === 'failed' && stacks[side].connectionState === 'connected';
  if (outcome !== 'unconnected' || scenario.canConnect) {
    const agree = () => SIDES.every((side) => isOver(side)) || SIDES.every((side) => isUp(side));
    if (!(await stacks.run(AGREE_LIMIT_MS, agree))) {
      faults.push(`they disagree: ${SIDES.map((side) => `${side} ${stacks[side].connectionState}`).join(', ')}`);
    }
  } else if (!(await stacks.run(AGREE_LIMIT_MS, () => SIDES.every((side) => isFailed(side))))) {
    faults.push(`no path, and the states are ${SIDES.map((side) => stacks[side].connectionState).join(', ')}`);
  }
  stacks[first].close();
  stacks[second].close();
  stacks.closeSockets();
  await stacks.run(1000);
  for (const { ends, plan } of traffic) {
    for (const side of SIDES) {
      const state = ends[side]?.readyState ?? 'closed';
      if (state !== 'closed') faults.push(`${plan.label} is ${state} at ${side} after all was closed`);
    }
  }
  await stacks.run(IDLE_LIMIT_MS, () => stacks.net.pendingEvents === 0);
  if (stacks.net.pendingEvents > 0) faults.push(`${stacks.net.pendingEvents} timers or packets are left`);
}

function failures(stacks: Stacks): string {
  return SIDES.map((side) => {
    const { connectionState, iceConnectionState, failure } = stacks[side];
    return `${side} ${connectionState}, ice ${iceConnectionState}${failure ? `, ${failure.message}` : ''}`;
  }).join('; ');
}

/** Bytes that no other message has: the seed of a simple generator is what and where the message is. */
function contentOf(plan: ChannelPlan, side: SideName, at: number, { bytes, isText }: SendPlan): string | Buffer {
  const data = Buffer.alloc(bytes);
  let state = (Number(plan.label.slice(1)) * 2 + (side === 'a' ? 0 : 1)) * 1000 + at + 1;
  for (let index = 0; index < bytes; index += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    data[index] = isText ? 0x20 + ((state >>> 24) % 95) : state >>> 24;
  }
  return isText ? data.toString('latin1') : data;
}
