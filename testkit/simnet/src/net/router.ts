/**
 * What a router does with a packet: translate what is for the NAT's outside
 * address, filter, translate what leaves by the outside, check hop limit and
 * size, forward. ICMP errors follow the packet they quote (RFC 5508, section 4.2).
 */

import type { NodeSpec } from '@claw/scenarios';
import type { Scheduler } from '../core/scheduler.ts';
import { NatCore, type NatCoreOptions } from '../nat/nat-core.ts';
import { PORT_MAPPING_PORT } from '../nat/port-mapping-host.ts';
import type { Attachments, Route } from './attachments.ts';
import { Firewall } from './firewall.ts';
import { inPieces, largestPieceBytes } from './fragments.ts';
import type { Interface } from './interface.ts';
import { flowOf, type IcmpProblem, makeIcmpError, makePacket, makeReset, type Packet, withEnds } from './packet.ts';

export class Router {
  readonly nat: NatCore | undefined;
  readonly #outside: string | undefined;
  readonly #attachments: Attachments;
  readonly #firewall: Firewall | undefined;
  readonly #scheduler: Scheduler;

  constructor(spec: NodeSpec, attachments: Attachments, scheduler: Scheduler, random: NatCoreOptions['random']) {
    this.#attachments = attachments;
    this.#scheduler = scheduler;
    this.#firewall = spec.firewall && new Firewall(spec.firewall);
    this.#outside = spec.nat?.outside;
    this.nat = spec.nat && new NatCore(spec.nat, { outsideAddress: this.#outsideAddress(), random });
  }

  /** To be called after a change of addresses. */
  addressesChanged(): void {
    if (this.nat && this.nat.outsideAddress !== this.#outsideAddress())
      this.nat.setOutsideAddress(this.#outsideAddress());
  }

  receive(packet: Packet, from: Interface): void {
    if (this.nat && packet.destination === this.nat.outsideAddress) {
      const translated = from.name === this.#outside ? this.#translateInbound(packet) : this.#translateHairpin(packet);
      if (translated) this.#forward(translated, packet, from);
    } else if (this.#attachments.owns(packet.destination)) {
      this.#receiveOwn(packet, from);
    } else {
      this.#forward(packet, packet, from);
    }
  }

  /** `received` is what an error quotes. */
  #forward(packet: Packet, received: Packet, from: Interface): void {
    if (packet.hopLimit <= 1) return this.#sendError(received, 'time-exceeded');
    const route = this.#attachments.route(packet.destination);
    if (!route) return this.#sendError(received, 'host-unreachable');
    const verdict = this.#firewall?.judge(packet, from.name, route.via.name, this.#scheduler.nowMs) ?? 'accept';
    if (verdict === 'reject') return this.#reject(received);
    if (verdict === 'drop') return;
    const { mtuBytes } = route.via;
    // In IPv6 only the sender fragments.
    const mayFragment = packet.pieceBytes !== undefined && packet.family === 'ipv4';
    if (largestPieceBytes(packet) > mtuBytes && !mayFragment) return this.#sendError(received, 'too-big', mtuBytes);
    const hopped = { ...inPieces(packet, mtuBytes), hopLimit: packet.hopLimit - 1 };
    const leaving = this.#isTranslated(packet, from, route) ? this.#translateOutbound(hopped) : hopped;
    if (leaving) route.via.transmit(leaving, route.nextHop);
  }

  #isTranslated(packet: Packet, from: Interface, route: Route): boolean {
    return (
      this.nat !== undefined &&
      packet.family === 'ipv4' &&
      route.via.name === this.#outside &&
      from.name !== this.#outside
    );
  }

  #translateOutbound(packet: Packet): Packet | undefined {
    const nat = this.nat as NatCore;
    const { nowMs } = this.#scheduler;
    const flow = flowOf(packet);
    if (flow) {
      const translated = nat.outbound(flow, nowMs);
      return translated && withEnds(packet, translated);
    }
    return this.#translateError(packet, (quoted) => nat.outboundError(quoted, nowMs), { source: nat.outsideAddress });
  }

  #translateInbound(packet: Packet): Packet | undefined {
    const nat = this.nat as NatCore;
    const { nowMs } = this.#scheduler;
    const flow = flowOf(packet);
    if (flow) {
      const translated = nat.inbound(flow, nowMs);
      return translated && withEnds(packet, translated);
    }
    return this.#translateError(packet, (quoted) => nat.inboundError(quoted, nowMs), {});
  }

  #translateHairpin(packet: Packet): Packet | undefined {
    const flow = flowOf(packet);
    const translated = flow && this.nat?.hairpin(flow, this.#scheduler.nowMs);
    return translated && withEnds(packet, translated);
  }

  #translateError(
    packet: Packet,
    translate: (quoted: NonNullable<ReturnType<typeof flowOf>>) => ReturnType<typeof flowOf>,
    ends: { readonly source?: string },
  ): Packet | undefined {
    if (packet.body.protocol !== 'icmp') return undefined;
    const quotedFlow = flowOf(packet.body.quoted);
    const translated = quotedFlow && translate(quotedFlow);
    if (!translated) return undefined;
    const quoted = withEnds(packet.body.quoted, translated);
    return {
      ...packet,
      source: ends.source ?? packet.source,
      destination: quoted.source,
      body: { ...packet.body, quoted },
    };
  }

  /** The router itself speaks NAT-PMP and PCP, towards the inside, and nothing else. */
  #receiveOwn(packet: Packet, from: Interface): void {
    const { body } = packet;
    const isAsked =
      body.protocol === 'udp' && body.destinationPort === PORT_MAPPING_PORT && packet.corruptBits.length === 0;
    if (!isAsked || !this.nat || from.name === this.#outside) return;
    const client = { address: packet.source, port: body.sourcePort };
    const answer = this.nat.handlePortMapping(body.data, client, this.#scheduler.nowMs);
    if (!answer) return;
    const ports = { sourcePort: PORT_MAPPING_PORT, destinationPort: client.port };
    this.#send(makePacket(packet.destination, client.address, { protocol: 'udp', ...ports, data: answer }));
  }

  #reject(packet: Packet): void {
    if (packet.body.protocol !== 'tcp') return this.#sendError(packet, 'port-unreachable');
    const reset = makeReset(packet);
    if (reset) this.#send(reset);
  }

  #sendError(packet: Packet, problem: IcmpProblem, mtuBytes = 0): void {
    if (packet.body.protocol === 'icmp') return;
    const route = this.#attachments.route(packet.source);
    const source = route?.via.addressOf(packet.family);
    if (source) this.#send(makeIcmpError(source, problem, packet, mtuBytes));
  }

  #send(packet: Packet): void {
    const route = this.#attachments.route(packet.destination);
    route?.via.transmit(packet, route.nextHop);
  }

  #outsideAddress(): string {
    const outside = this.#outside === undefined ? undefined : this.#attachments.interfaces.get(this.#outside);
    return outside?.addressOf('ipv4') ?? '';
  }
}
