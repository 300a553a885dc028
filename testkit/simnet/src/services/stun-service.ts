/**
 * A STUN server: Binding by RFC 8489, and with a second address the behaviour
 * discovery of RFC 5780, on ports `udp` and `udp` + 1 of both addresses.
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
  STUN_ATTRIBUTE,
  STUN_METHOD,
  type StunAttribute,
  type StunMessage,
} from '../stun/message.ts';

const DEFAULT_PORT = 3478;
const CHANGE_ADDRESS = 4;
const CHANGE_PORT = 2;

export function startStunService(host: Host, spec: Extract<ServiceSpec, { readonly kind: 'turn' }>): { close(): void } {
  const port = spec.udp ?? DEFAULT_PORT;
  const main = host.bindUdp({ port });
  const sockets = new Map<number, UdpSocket>([[port, main]]);
  const otherIpv4 = spec.otherIpv4 && canonicalAddress(spec.otherIpv4);
  if (otherIpv4) sockets.set(port + 1, host.bindUdp({ port: port + 1 }));
  const otherPort = (each: number) => (each === port ? port + 1 : port);
  const firstIpv4 = host
    .addresses()
    .find(({ address }) => familyOf(address) === 'ipv4' && address !== otherIpv4)?.address;
  const otherAddress = (each: string) => (each === otherIpv4 ? firstIpv4 : otherIpv4);

  const answer = (message: StunMessage, from: Endpoint, to: Endpoint) => {
    if (message.method !== STUN_METHOD.binding || message.class !== 'request') return;
    const wish = attributeOf(message, STUN_ATTRIBUTE.changeRequest);
    const change = otherIpv4 && wish?.length === 4 ? wish.readUInt32BE() : 0;
    const origin = {
      address: (change & CHANGE_ADDRESS ? otherAddress(to.address) : to.address) ?? to.address,
      port: change & CHANGE_PORT ? otherPort(to.port) : to.port,
    };
    const { transaction } = message;
    const attributes: StunAttribute[] = [
      { type: STUN_ATTRIBUTE.xorMappedAddress, value: encodeStunAddress(from, transaction) },
      { type: STUN_ATTRIBUTE.responseOrigin, value: encodeStunAddress(origin) },
    ];
    const other = otherIpv4 && familyOf(to.address) === 'ipv4' ? otherAddress(to.address) : undefined;
    if (other) {
      const value = encodeStunAddress({ address: other, port: otherPort(to.port) });
      attributes.push({ type: STUN_ATTRIBUTE.otherAddress, value });
    }
    const response = encodeStun({ method: STUN_METHOD.binding, class: 'success', transaction, attributes });
    sockets.get(origin.port)?.send(response, from, origin.address);
  };

  for (const socket of sockets.values()) {
    socket.onMessage((bytes, from, to) => {
      try {
        answer(decodeStun(bytes), from, to);
      } catch (error) {
        // Foreign bytes, or an address that has just gone: a server stays silent.
        if (!isClawError(error)) throw error;
      }
    });
  }
  return {
    close() {
      for (const socket of sockets.values()) socket.close();
    },
  };
}
