/**
 * A stateful packet filter: the first packet of a flow is judged by the rules,
 * later packets of it, answers and ICMP errors about it pass. It sees inside
 * addresses: after a NAT translated what comes in, before it translates what leaves.
 */

import type { FirewallRule, FirewallSpec } from '@claw/scenarios';
import type { Flow } from '../nat/flow.ts';
import { TcpSession } from '../nat/tcp-session.ts';
import { canonicalAddress } from './address.ts';
import { flowOf, type Packet } from './packet.ts';

const UDP_IDLE_MS = 120_000;
const SWEEP_EVERY_MS = 10_000;

interface TrackedFlow {
  expiresAtMs: number;
  readonly tcp: TcpSession | undefined;
}

export class Firewall {
  readonly #rules: readonly FirewallRule[];
  readonly #tracked = new Map<string, TrackedFlow>();
  #sweptAtMs = 0;

  constructor(spec: FirewallSpec) {
    this.#rules = spec.rules.map((rule) =>
      rule.addresses ? { ...rule, addresses: rule.addresses.map(canonicalAddress) } : rule,
    );
  }

  judge(packet: Packet, from: string, to: string, nowMs: number): FirewallRule['action'] {
    const flow = flowOf(packet);
    if (!flow) return this.#judgeError(packet, from, to, nowMs);
    const forward = keyOf(flow.protocol, flow.source, flow.destination);
    const known = this.#live(forward, nowMs);
    const answered = known ?? this.#live(keyOf(flow.protocol, flow.destination, flow.source), nowMs);
    if (answered) {
      this.#refresh(answered, flow, known !== undefined, nowMs);
      return 'accept';
    }
    const action = this.#applyRules(flow.protocol, flow.destination, from, to);
    if (action === 'accept') {
      this.#sweep(nowMs);
      const tracked = { expiresAtMs: 0, tcp: flow.protocol === 'tcp' ? new TcpSession() : undefined };
      this.#refresh(tracked, flow, true, nowMs);
      this.#tracked.set(forward, tracked);
    }
    return action;
  }

  #judgeError(packet: Packet, from: string, to: string, nowMs: number): FirewallRule['action'] {
    const quoted = packet.body.protocol === 'icmp' ? flowOf(packet.body.quoted) : undefined;
    if (quoted) {
      const ends = [quoted.source, quoted.destination] as const;
      const isKnown =
        this.#live(keyOf(quoted.protocol, ends[0], ends[1]), nowMs) ??
        this.#live(keyOf(quoted.protocol, ends[1], ends[0]), nowMs);
      if (isKnown) return 'accept';
    }
    return this.#applyRules('icmp', { address: packet.destination, port: undefined }, from, to);
  }

  #applyRules(
    protocol: Flow['protocol'],
    destination: { readonly address: string; readonly port: number | undefined },
    from: string,
    to: string,
  ) {
    const fits = (rule: FirewallRule) =>
      (rule.from === undefined || rule.from === from) &&
      (rule.to === undefined || rule.to === to) &&
      (rule.protocol === undefined || rule.protocol === protocol) &&
      (rule.ports === undefined || (destination.port !== undefined && rule.ports.includes(destination.port))) &&
      (rule.addresses === undefined || rule.addresses.includes(destination.address));
    return this.#rules.find(fits)?.action ?? 'accept';
  }

  #refresh(tracked: TrackedFlow, flow: Flow, isForward: boolean, nowMs: number): void {
    tracked.expiresAtMs = nowMs + (tracked.tcp ? tracked.tcp.lifetimeMsAfter(flow.tcpFlags, isForward) : UDP_IDLE_MS);
  }

  #live(key: string, nowMs: number): TrackedFlow | undefined {
    const tracked = this.#tracked.get(key);
    return tracked && tracked.expiresAtMs > nowMs ? tracked : undefined;
  }

  #sweep(nowMs: number): void {
    if (nowMs - this.#sweptAtMs < SWEEP_EVERY_MS) return;
    this.#sweptAtMs = nowMs;
    for (const [key, tracked] of this.#tracked) if (tracked.expiresAtMs <= nowMs) this.#tracked.delete(key);
  }
}

function keyOf(protocol: string, from: Flow['source'], to: Flow['source']): string {
  return `${protocol}|${from.address}|${from.port}|${to.address}|${to.port}`;
}
