/**
 * The one place that lets anything out (design decision 8): every packet, every
 * connection and every look-up is shown to the policy first. Nothing else in this
 * package calls `output.send` or `output.request`.
 */

import type { TransportAddress } from '../address.ts';
import type { EgressFacts, EgressKind, IceOutput, IceRequest } from './types.ts';

export interface EgressTransport {
  readonly id: number;
  readonly protocol: 'udp' | 'tcp' | 'tls';
  readonly local: TransportAddress;
}

const NOWHERE: TransportAddress = { address: '0.0.0.0', port: 0 };

export class EgressGate {
  readonly #output: IceOutput;
  readonly #permits: ((facts: Readonly<EgressFacts>) => boolean) | undefined;
  readonly #facts: EgressFacts = {
    kind: 'data',
    protocol: 'udp',
    local: undefined,
    remote: NOWHERE,
    peer: NOWHERE,
    bytes: 0,
  };
  #isShut = false;
  /** Packets let out. */
  packets = 0;
  /** Packets, connections and look-ups refused. */
  refused = 0;

  constructor(output: IceOutput, permits: ((facts: Readonly<EgressFacts>) => boolean) | undefined) {
    this.#output = output;
    this.#permits = permits;
  }

  send(
    kind: EgressKind,
    transport: EgressTransport,
    bytes: Uint8Array,
    remote: TransportAddress,
    peer: TransportAddress = remote,
    prefix?: Uint8Array,
  ): boolean {
    if (this.#isShut) return false;
    const length = bytes.length + (prefix?.length ?? 0);
    if (this.#permits && !this.#ask(kind, transport.protocol, transport.local, remote, peer, length)) return false;
    this.packets += 1;
    this.#output.send(transport.id, bytes, remote, prefix);
    return true;
  }

  /** Opens, closes and resolves. What is refused the caller treats as failed. */
  request(request: IceRequest): boolean {
    if (this.#isShut && request.type !== 'close') return false;
    if (this.#permits && request.type === 'connect-tcp') {
      const protocol = request.tlsServerName === undefined ? 'tcp' : 'tls';
      if (!this.#ask('connect', protocol, undefined, request.remote, request.remote, 0)) return false;
    }
    if (this.#permits && request.type === 'resolve') {
      const name = { address: request.name, port: 0 };
      if (!this.#ask('resolve', 'none', undefined, name, name, 0)) return false;
    }
    this.#output.request(request);
    return true;
  }

  /** Nothing leaves any more, except that what is open may be closed. */
  shut(): void {
    this.#isShut = true;
  }

  #ask(
    kind: EgressKind,
    protocol: EgressFacts['protocol'],
    local: TransportAddress | undefined,
    remote: TransportAddress,
    peer: TransportAddress,
    bytes: number,
  ): boolean {
    const facts = this.#facts;
    facts.kind = kind;
    facts.protocol = protocol;
    facts.local = local;
    facts.remote = remote;
    facts.peer = peer;
    facts.bytes = bytes;
    if (this.#permits?.(facts) !== false) return true;
    this.refused += 1;
    return false;
  }
}
