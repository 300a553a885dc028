/**
 * The `turn` service: STUN Binding (RFC 8489) and TURN (RFC 8656) over UDP and
 * TCP; with a second address also the behaviour discovery of RFC 5780, on ports
 * `udp` and `udp` + 1 of both addresses. What comes to the port of TLS is taken as it
 * is, for TLS is not modelled.
 */

import { isClawError } from '@claw/base';
import type { ServiceSpec } from '@claw/scenarios';
import type { Host } from '../host/host.ts';
import type { UdpSocket } from '../host/udp.ts';
import type { Endpoint } from '../nat/flow.ts';
import { canonicalAddress, familyOf } from '../net/address.ts';
import {
  attributeOf,
  decodeStun,
  encodeStun,
  encodeStunAddress,
  looksLikeStun,
  STUN_ATTRIBUTE,
  STUN_METHOD,
  type StunAttribute,
  type StunMessage,
} from '../stun/message.ts';
import type { TcpStream } from '../tcp/stream.ts';
import { StunFrames } from './stun-frames.ts';
import { type TurnClient, TurnServer } from './turn-server.ts';

const DEFAULT_PORT = 3478;
const DEFAULT_TLS_PORT = 5349;
const CHANGE_ADDRESS = 4;
const CHANGE_PORT = 2;

type TurnSpec = Extract<ServiceSpec, { readonly kind: 'turn' }>;

export function startTurnService(host: Host, spec: TurnSpec): { close(): void } {
  const service = new TurnService(host, spec);
  return { close: () => service.close() };
}

class TurnService {
  readonly #host: Host;
  readonly #turn: TurnServer;
  readonly #port: number;
  readonly #otherIpv4: string | undefined;
  readonly #sockets = new Map<number, UdpSocket>();
  readonly #streams = new Set<TcpStream>();
  readonly #listeners;

  constructor(host: Host, spec: TurnSpec) {
    this.#host = host;
    this.#port = spec.udp ?? DEFAULT_PORT;
    this.#otherIpv4 = spec.otherIpv4 && canonicalAddress(spec.otherIpv4);
    this.#turn = new TurnServer(host);
    this.#bind(this.#port);
    if (this.#otherIpv4) this.#bind(this.#port + 1);
    const ports = [spec.tcp ?? DEFAULT_PORT, spec.tls ?? DEFAULT_TLS_PORT];
    this.#listeners = ports.map((port) => host.listenTcp({ port }, (stream) => void this.#serve(stream)));
  }

  close(): void {
    for (const socket of this.#sockets.values()) socket.close();
    for (const listener of this.#listeners) listener.close();
    for (const stream of this.#streams) stream.reset();
    this.#turn.close();
  }

  #bind(port: number): void {
    const socket = this.#host.bindUdp({ port });
    this.#sockets.set(port, socket);
    socket.onMessage((bytes, from, to) => {
      const send = (answer: Buffer) => socket.send(answer, from, to.address);
      const client = { key: `udp ${from.address}|${from.port}|${to.address}|${to.port}`, remote: from, send };
      this.#handle(bytes, client, (message) => this.#answerBinding(message, from, to));
    });
  }

  async #serve(stream: TcpStream): Promise<void> {
    const { remote, local } = stream;
    // A stream that broke ends the reading below; what was still to be written is lost with it.
    const send = (answer: Buffer) => void stream.write(answer).catch(() => {});
    const client = { key: `tcp ${remote.address}|${remote.port}`, remote, send };
    const frames = new StunFrames();
    this.#streams.add(stream);
    try {
      for (let bytes = await stream.read(); bytes; bytes = await stream.read()) {
        for (const frame of frames.push(bytes)) {
          this.#handle(frame, client, (message) => send(bindingAnswer(message, remote, local)));
        }
      }
      stream.end();
    } catch (error) {
      if (!isClawError(error)) throw error;
    } finally {
      this.#streams.delete(stream);
      this.#turn.drop(client);
    }
  }

  #handle(bytes: Buffer, client: TurnClient, answerBinding: (message: StunMessage) => void): void {
    try {
      const message = looksLikeStun(bytes) ? decodeStun(bytes) : undefined;
      if (!message) this.#turn.handleChannelData(bytes, client);
      else if (message.method !== STUN_METHOD.binding) this.#turn.handle(message, bytes, client);
      else if (message.class === 'request') answerBinding(message);
    } catch (error) {
      // Foreign bytes, or an address that has just gone: a server stays silent.
      if (!isClawError(error)) throw error;
    }
  }

  #answerBinding(message: StunMessage, from: Endpoint, to: Endpoint): void {
    const wish = attributeOf(message, STUN_ATTRIBUTE.changeRequest);
    const change = this.#otherIpv4 && wish?.length === 4 ? wish.readUInt32BE() : 0;
    const otherAddress = this.#otherAddress(to.address);
    const otherPort = to.port === this.#port ? this.#port + 1 : this.#port;
    const origin = {
      address: change & CHANGE_ADDRESS && otherAddress ? otherAddress : to.address,
      port: change & CHANGE_PORT ? otherPort : to.port,
    };
    const other = otherAddress === undefined ? undefined : { address: otherAddress, port: otherPort };
    this.#sockets.get(origin.port)?.send(bindingAnswer(message, from, origin, other), from, origin.address);
  }

  /** The other one of the two IPv4 addresses of RFC 5780. */
  #otherAddress(address: string): string | undefined {
    if (!this.#otherIpv4 || familyOf(address) !== 'ipv4') return undefined;
    if (address !== this.#otherIpv4) return this.#otherIpv4;
    const all = this.#host.addresses().map((each) => each.address);
    return all.find((each) => familyOf(each) === 'ipv4' && each !== this.#otherIpv4);
  }
}

function bindingAnswer(message: StunMessage, from: Endpoint, origin: Endpoint, other?: Endpoint): Buffer {
  const { transaction } = message;
  const attributes: StunAttribute[] = [
    { type: STUN_ATTRIBUTE.xorMappedAddress, value: encodeStunAddress(from, transaction) },
    { type: STUN_ATTRIBUTE.responseOrigin, value: encodeStunAddress(origin) },
    ...(other ? [{ type: STUN_ATTRIBUTE.otherAddress, value: encodeStunAddress(other) }] : []),
  ];
  return encodeStun({ method: STUN_METHOD.binding, class: 'success', transaction, attributes });
}
