/**
 * Packets through a {@link NatCore}: each is read, handed over as a flow, rewritten
 * in place, and given back; undefined means that it goes nowhere. Later fragments
 * follow the first one of their datagram.
 */

import type { BlockList } from 'node:net';
import type { Random } from '@claw/base';
import type { NatSpec } from '@claw/scenarios';
import { type Flow, NatCore } from '@claw/simnet';
import { prefixOf } from '../prefix.ts';
import { FragmentNotes } from './fragment-notes.ts';
import { formatUdp, type ParsedPacket, parsePacket, rewriteError, rewritePacket, undoHop } from './packet.ts';
import { PORT_MAPPING_PORT } from './ruleset.ts';

export interface PacketNatOptions {
  readonly spec: NatSpec;
  readonly outsideAddress: string;
  /** CIDR. */
  readonly insidePrefixes: readonly string[];
  readonly random: Random;
}

export class PacketNat {
  readonly #core: NatCore;
  readonly #inside: readonly BlockList[];
  readonly #speaksPortMapping: boolean;
  readonly #fragments = new FragmentNotes();

  constructor(options: PacketNatOptions) {
    this.#core = new NatCore(options.spec, options);
    this.#inside = options.insidePrefixes.map(prefixOf);
    this.#speaksPortMapping = (options.spec.portMapping ?? []).length > 0;
  }

  setOutsideAddress(address: string): void {
    this.#core.setOutsideAddress(address);
  }

  /** The packet to send on, which is `packet` itself or an answer to it. */
  handle(packet: Buffer, nowMs: number): Buffer | undefined {
    if (FragmentNotes.isLater(packet)) return this.#fragments.follow(packet) ? packet : undefined;
    const parsed = parsePacket(packet);
    if (!parsed) return undefined;
    const isToOutside = parsed.flow.destination.address === this.#core.outsideAddress;
    const isFromInside = this.#isInside(parsed.flow.source.address);
    if (parsed.quoted) return this.#translateError(packet, parsed, parsed.quoted, isToOutside && !isFromInside, nowMs);
    if (!isToOutside && this.#isInside(parsed.flow.destination.address)) return this.#answer(packet, parsed, nowMs);
    const translated = this.#translate(parsed.flow, isToOutside, isFromInside, nowMs);
    if (!translated) return undefined;
    this.#fragments.note(packet, translated);
    rewritePacket(packet, parsed, translated);
    undoHop(packet);
    return packet;
  }

  #translate(flow: Flow, isToOutside: boolean, isFromInside: boolean, nowMs: number): Flow | undefined {
    if (!isToOutside) return this.#core.outbound(flow, nowMs);
    return isFromInside ? this.#core.hairpin(flow, nowMs) : this.#core.inbound(flow, nowMs);
  }

  #translateError(packet: Buffer, parsed: ParsedPacket, quoted: ParsedPacket, isInbound: boolean, nowMs: number) {
    const flow = isInbound ? this.#core.inboundError(quoted.flow, nowMs) : this.#core.outboundError(quoted.flow, nowMs);
    if (!flow) return undefined;
    const ends = isInbound ? { destination: flow.source.address } : { source: this.#core.outsideAddress };
    rewriteError(packet, parsed, flow, ends);
    undoHop(packet);
    return packet;
  }

  /** NAT-PMP and PCP, asked of the router's inside address. */
  #answer(packet: Buffer, { flow, payloadAt }: ParsedPacket, nowMs: number): Buffer | undefined {
    if (!this.#speaksPortMapping || flow.protocol !== 'udp' || flow.destination.port !== PORT_MAPPING_PORT)
      return undefined;
    const reply = this.#core.handlePortMapping(packet.subarray(payloadAt + 8), flow.source, nowMs);
    return reply && formatUdp(flow.destination, flow.source, reply);
  }

  #isInside(address: string): boolean {
    return this.#inside.some((prefix) => prefix.check(address, 'ipv4'));
  }
}
