/**
 * TURN's requests: RFC 8656 with the long-term credentials of RFC 8489. A client
 * has at most one allocation, which relays UDP; `TurnAllocation` does that.
 */

import { createHash } from 'node:crypto';
import type { Host } from '../host/host.ts';
import type { Endpoint } from '../nat/flow.ts';
import { familyOf } from '../net/address.ts';
import {
  attributeOf,
  decodeStunAddress,
  encodeStun,
  encodeStunAddress,
  isSignedWith,
  STUN_ATTRIBUTE,
  STUN_METHOD,
  type StunAttribute,
  type StunMessage,
} from '../stun/message.ts';
import { TurnAllocation } from './turn-allocation.ts';

/** What the `turn` service of every simulated host takes. */
export const SIMNET_TURN = { username: 'claw', credential: 'claw', realm: 'simnet' } as const;

/** A five-tuple, and the way back to it. */
export interface TurnClient {
  readonly key: string;
  readonly remote: Endpoint;
  send(bytes: Buffer): void;
}

const ERROR = {
  badRequest: [400, 'Bad Request'],
  unauthorized: [401, 'Unauthorized'],
  mismatch: [437, 'Allocation Mismatch'],
  staleNonce: [438, 'Stale Nonce'],
  familyNotSupported: [440, 'Address Family not Supported'],
  transportNotSupported: [442, 'Unsupported Transport Protocol'],
} as const;

const TRANSPORT_UDP = 17;
const FAMILY_IPV6 = 2;
const DEFAULT_LIFETIME_S = 600;
const MAX_LIFETIME_S = 3600;
const FIRST_CHANNEL = 0x4000;
const LAST_CHANNEL = 0x4fff;

export class TurnServer {
  readonly #host: Host;
  readonly #allocations = new Map<string, TurnAllocation>();
  readonly #key: Buffer;
  /** Another one after a restart, so that clients notice. */
  readonly #nonce: Buffer;

  constructor(host: Host) {
    const { username, credential, realm } = SIMNET_TURN;
    this.#host = host;
    this.#key = createHash('md5').update(`${username}:${realm}:${credential}`).digest();
    this.#nonce = Buffer.from(`nonce ${host.clock.monotonicMs()}`);
  }

  /** A STUN message with one of TURN's methods. */
  handle(message: StunMessage, bytes: Buffer, client: TurnClient): void {
    if (message.class === 'indication') {
      if (message.method === STUN_METHOD.send) this.#handleSend(message, client);
      return;
    }
    if (message.class !== 'request') return;
    const refusal = this.#authenticate(message, bytes);
    if (refusal) return this.#refuse(message, client, refusal);
    switch (message.method) {
      case STUN_METHOD.allocate:
        return this.#allocate(message, client);
      case STUN_METHOD.refresh:
        return this.#refresh(message, client);
      case STUN_METHOD.createPermission:
        return this.#createPermission(message, client);
      case STUN_METHOD.channelBind:
        return this.#bindChannel(message, client);
      default:
        return this.#refuse(message, client, ERROR.badRequest);
    }
  }

  handleChannelData(bytes: Buffer, client: TurnClient): void {
    if (bytes.length < 4 || bytes.length < 4 + bytes.readUInt16BE(2)) return;
    const channel = bytes.readUInt16BE(0);
    this.#allocations.get(client.key)?.sendToChannel(channel, bytes.subarray(4, 4 + bytes.readUInt16BE(2)));
  }

  /** The client's connection is gone, and its allocation with it. */
  drop(client: TurnClient): void {
    this.#allocations.get(client.key)?.close();
  }

  close(): void {
    for (const allocation of [...this.#allocations.values()]) allocation.close();
  }

  #authenticate(message: StunMessage, bytes: Buffer): readonly [number, string] | undefined {
    if (!attributeOf(message, STUN_ATTRIBUTE.messageIntegrity)) return ERROR.unauthorized;
    if (!attributeOf(message, STUN_ATTRIBUTE.nonce)?.equals(this.#nonce)) return ERROR.staleNonce;
    const isKnown = attributeOf(message, STUN_ATTRIBUTE.username)?.equals(Buffer.from(SIMNET_TURN.username));
    return isKnown && isSignedWith(bytes, this.#key) ? undefined : ERROR.unauthorized;
  }

  #allocate(message: StunMessage, client: TurnClient): void {
    const known = this.#allocations.get(client.key);
    // The same request again: our answer was lost.
    if (known?.transaction.equals(message.transaction)) return this.#confirm(message, client, known);
    if (known) return this.#refuse(message, client, ERROR.mismatch);
    const transport = attributeOf(message, STUN_ATTRIBUTE.requestedTransport);
    if (transport?.length !== 4) return this.#refuse(message, client, ERROR.badRequest);
    if (transport[0] !== TRANSPORT_UDP) return this.#refuse(message, client, ERROR.transportNotSupported);
    const wished = attributeOf(message, STUN_ATTRIBUTE.requestedAddressFamily)?.[0];
    const family = wished === FAMILY_IPV6 ? 'ipv6' : 'ipv4';
    const address = this.#host.addresses().find((each) => familyOf(each.address) === family)?.address;
    if (address === undefined) return this.#refuse(message, client, ERROR.familyNotSupported);

    const onEnd = () => this.#allocations.delete(client.key);
    const allocation = new TurnAllocation(this.#host, { address, client, transaction: message.transaction, onEnd });
    this.#allocations.set(client.key, allocation);
    allocation.refresh(lifetimeOf(message));
    this.#confirm(message, client, allocation);
  }

  #confirm(message: StunMessage, client: TurnClient, { relayed }: TurnAllocation): void {
    const { transaction } = message;
    this.#answer(message, client, [
      { type: STUN_ATTRIBUTE.xorRelayedAddress, value: encodeStunAddress(relayed, transaction) },
      { type: STUN_ATTRIBUTE.xorMappedAddress, value: encodeStunAddress(client.remote, transaction) },
      { type: STUN_ATTRIBUTE.lifetime, value: uint32(lifetimeOf(message)) },
    ]);
  }

  #refresh(message: StunMessage, client: TurnClient): void {
    const allocation = this.#allocations.get(client.key);
    if (!allocation) return this.#refuse(message, client, ERROR.mismatch);
    const lifetimeS = lifetimeOf(message);
    if (lifetimeS === 0) allocation.close();
    else allocation.refresh(lifetimeS);
    this.#answer(message, client, [{ type: STUN_ATTRIBUTE.lifetime, value: uint32(lifetimeS) }]);
  }

  #createPermission(message: StunMessage, client: TurnClient): void {
    const allocation = this.#allocations.get(client.key);
    if (!allocation) return this.#refuse(message, client, ERROR.mismatch);
    const peers = message.attributes.filter(({ type }) => type === STUN_ATTRIBUTE.xorPeerAddress);
    if (peers.length === 0) return this.#refuse(message, client, ERROR.badRequest);
    for (const { value } of peers) allocation.permit(decodeStunAddress(value, message.transaction).address);
    this.#answer(message, client, []);
  }

  #bindChannel(message: StunMessage, client: TurnClient): void {
    const allocation = this.#allocations.get(client.key);
    if (!allocation) return this.#refuse(message, client, ERROR.mismatch);
    const number = attributeOf(message, STUN_ATTRIBUTE.channelNumber);
    const peer = peerOf(message);
    const channel = number?.length === 4 ? number.readUInt16BE(0) : 0;
    const isInRange = channel >= FIRST_CHANNEL && channel <= LAST_CHANNEL;
    if (!peer || !isInRange || !allocation.bindChannel(channel, peer))
      return this.#refuse(message, client, ERROR.badRequest);
    this.#answer(message, client, []);
  }

  #handleSend(message: StunMessage, client: TurnClient): void {
    const peer = peerOf(message);
    const data = attributeOf(message, STUN_ATTRIBUTE.data);
    if (peer && data) this.#allocations.get(client.key)?.sendTo(peer, data);
  }

  #answer({ method, transaction }: StunMessage, client: TurnClient, attributes: readonly StunAttribute[]): void {
    client.send(encodeStun({ method, class: 'success', transaction, attributes }, this.#key));
  }

  #refuse({ method, transaction }: StunMessage, client: TurnClient, [code, reason]: readonly [number, string]): void {
    const attributes = [
      {
        type: STUN_ATTRIBUTE.errorCode,
        value: Buffer.concat([Buffer.of(0, 0, Math.floor(code / 100), code % 100), Buffer.from(reason)]),
      },
      { type: STUN_ATTRIBUTE.realm, value: Buffer.from(SIMNET_TURN.realm) },
      { type: STUN_ATTRIBUTE.nonce, value: this.#nonce },
    ];
    client.send(encodeStun({ method, class: 'error', transaction, attributes }));
  }
}

function peerOf(message: StunMessage): Endpoint | undefined {
  const value = attributeOf(message, STUN_ATTRIBUTE.xorPeerAddress);
  return value && decodeStunAddress(value, message.transaction);
}

function lifetimeOf(message: StunMessage): number {
  const value = attributeOf(message, STUN_ATTRIBUTE.lifetime);
  return value?.length === 4 ? Math.min(value.readUInt32BE(), MAX_LIFETIME_S) : DEFAULT_LIFETIME_S;
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
