/** The messages of connectivity checks (RFC 8445 §7), signed with short-term credentials (RFC 8489 §9.1). */

import type { TransportAddress } from '../address.ts';
import { ATTRIBUTE, METHOD } from '../stun/constants.ts';
import { StunWriter } from '../stun/encode.ts';
import type { StunMessage } from '../stun/message.ts';
import { keyOf } from './parameters.ts';
import type { IceParameters } from './types.ts';

export interface CheckRequest {
  readonly id: Buffer;
  readonly local: IceParameters;
  readonly remote: IceParameters;
  /** What a peer-reflexive candidate learnt from this check would have. */
  readonly priority: number;
  readonly isControlling: boolean;
  readonly tieBreaker: bigint;
  readonly nominate: boolean;
  /** Value of the NOMINATION attribute, where the peer understands it. */
  readonly nomination: number | undefined;
}

/** Adds attributes of others before the message is signed. */
export type Extend = (writer: StunWriter) => void;

export function encodeCheck(check: CheckRequest, extend?: Extend): Buffer {
  const writer = new StunWriter('request', METHOD.binding, check.id)
    .text(ATTRIBUTE.username, `${check.remote.usernameFragment}:${check.local.usernameFragment}`)
    .uint32(ATTRIBUTE.priority, check.priority)
    .uint64(check.isControlling ? ATTRIBUTE.iceControlling : ATTRIBUTE.iceControlled, check.tieBreaker);
  if (check.nominate) writer.flag(ATTRIBUTE.useCandidate);
  if (check.nominate && check.nomination !== undefined) writer.uint32(ATTRIBUTE.nomination, check.nomination);
  extend?.(writer);
  return writer.integrity(keyOf(check.remote)).finishWithFingerprint();
}

export function encodeCheckSuccess(
  request: StunMessage,
  from: TransportAddress,
  local: IceParameters,
  extend?: Extend,
): Buffer {
  const writer = new StunWriter('success', METHOD.binding, request.transactionId);
  writer.address(ATTRIBUTE.xorMappedAddress, from);
  extend?.(writer);
  return writer.integrity(keyOf(local)).finishWithFingerprint();
}

/** Unsigned where the sender could not prove itself. */
export function encodeCheckError(
  request: StunMessage,
  code: number,
  reason: string,
  options: { readonly local?: IceParameters; readonly unknown?: readonly number[] } = {},
): Buffer {
  const writer = new StunWriter('error', request.method, request.transactionId).error(code, reason);
  if (options.unknown) writer.unknownAttributes(options.unknown);
  if (options.local) writer.integrity(keyOf(options.local));
  return writer.finishWithFingerprint();
}

/** An unsigned Binding request to a STUN server. */
export function encodeBindingRequest(id: Buffer): Buffer {
  return new StunWriter('request', METHOD.binding, id).finishWithFingerprint();
}
