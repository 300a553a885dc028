/**
 * Frames of the relay protocol, subprotocol `claw-relay.1`: one binary WebSocket
 * message each, the first byte says which. CHALLENGE, LOGIN, READY; then SENDs one
 * way, the rest the other; ERROR at any time. The relay closes after every ERROR
 * but `rate-limited`.
 *
 *   SEND      1 | to 32 | envelope       client to relay
 *   DELIVER   2 | envelope               relay to client
 *   ABSENT    3 | to 32                  relay to client: nobody of that id is here
 *   ERROR     4 | code, ASCII            relay to client
 *   CHALLENGE 5 | 32 bytes               relay to client, first
 *   LOGIN     6 | key 32 | signature 64  client to relay, in answer
 *   READY     7                          relay to client: logged in
 */

import { signalingError } from '../errors.ts';

export const RELAY_SUBPROTOCOL = 'claw-relay.1';
export const CHALLENGE_BYTES = 32;
const KEY_BYTES = 32;
/** What SEND adds to an envelope. */
export const SEND_HEADER_BYTES = 1 + KEY_BYTES;

const SIGNATURE_BYTES = 64;
const MAX_CODE_LENGTH = 32;

const TYPE = { send: 1, deliver: 2, absent: 3, error: 4, challenge: 5, login: 6, ready: 7 } as const;

/** Codes in ERROR frames. Part of the protocol: they never change meaning. */
export type RelayErrorCode = 'login-refused' | 'malformed' | 'rate-limited' | 'replaced' | 'shutdown';

export type ClientFrame =
  | { readonly type: 'send'; readonly to: Buffer; readonly envelope: Buffer }
  | { readonly type: 'login'; readonly publicKey: Buffer; readonly signature: Buffer };

export type RelayFrame =
  | { readonly type: 'deliver'; readonly envelope: Buffer }
  | { readonly type: 'absent'; readonly to: Buffer }
  /** `code` is a {@link RelayErrorCode}, or one of a newer relay. */
  | { readonly type: 'error'; readonly code: string }
  | { readonly type: 'challenge'; readonly challenge: Buffer }
  | { readonly type: 'ready' };

/** The frame's bytes. */
export function encodeFrame(frame: ClientFrame | RelayFrame): Buffer {
  const type = Buffer.of(TYPE[frame.type]);
  switch (frame.type) {
    case 'send':
      return encodeSend(frame.to, frame.envelope);
    case 'login':
      return Buffer.concat([type, frame.publicKey, frame.signature]);
    case 'deliver':
      return Buffer.concat([type, frame.envelope]);
    case 'absent':
      return Buffer.concat([type, frame.to]);
    case 'error':
      return Buffer.concat([type, Buffer.from(frame.code, 'ascii')]);
    case 'challenge':
      return Buffer.concat([type, frame.challenge]);
    case 'ready':
      return type;
  }
}

export function encodeSend(to: Uint8Array, envelope: Uint8Array): Buffer {
  return Buffer.concat([Buffer.of(TYPE.send), to, envelope]);
}

/**
 * What a client sent; its parts lie over the same memory.
 * @throws ClawError `RELAY_FRAME_MALFORMED`.
 */
export function decodeClientFrame(bytes: Buffer): ClientFrame {
  switch (bytes[0]) {
    case TYPE.send:
      if (bytes.length <= SEND_HEADER_BYTES) throw malformed('SEND without an envelope');
      return { type: 'send', to: bytes.subarray(1, SEND_HEADER_BYTES), envelope: bytes.subarray(SEND_HEADER_BYTES) };
    case TYPE.login:
      expectLength('LOGIN', bytes, 1 + KEY_BYTES + SIGNATURE_BYTES);
      return { type: 'login', publicKey: bytes.subarray(1, 1 + KEY_BYTES), signature: bytes.subarray(1 + KEY_BYTES) };
    default:
      throw malformed(`a client sends no frame of type ${bytes[0]}`);
  }
}

/**
 * What a relay sent; its parts lie over the same memory.
 * @throws ClawError `RELAY_FRAME_MALFORMED`.
 */
export function decodeRelayFrame(bytes: Buffer): RelayFrame {
  switch (bytes[0]) {
    case TYPE.deliver:
      if (bytes.length < 2) throw malformed('DELIVER without an envelope');
      return { type: 'deliver', envelope: bytes.subarray(1) };
    case TYPE.absent:
      expectLength('ABSENT', bytes, 1 + KEY_BYTES);
      return { type: 'absent', to: bytes.subarray(1) };
    case TYPE.error: {
      const code = bytes.toString('latin1', 1);
      if (code.length > MAX_CODE_LENGTH || !/^[a-z0-9-]+$/.test(code)) throw malformed('ERROR without a proper code');
      return { type: 'error', code };
    }
    case TYPE.challenge:
      expectLength('CHALLENGE', bytes, 1 + CHALLENGE_BYTES);
      return { type: 'challenge', challenge: bytes.subarray(1) };
    case TYPE.ready:
      expectLength('READY', bytes, 1);
      return { type: 'ready' };
    default:
      throw malformed(`a relay sends no frame of type ${bytes[0]}`);
  }
}

/**
 * What a client signs (purpose `relay-login`) to log in. The host, as the client dialled it,
 * keeps one relay from passing another's challenge on and logging in as its client there.
 */
export function loginMessage(challenge: Uint8Array, host: string): Buffer {
  return Buffer.concat([challenge, Buffer.from(host.toLowerCase())]);
}

function expectLength(name: string, bytes: Buffer, length: number): void {
  if (bytes.length !== length) throw malformed(`${name} has ${length} bytes, this one has ${bytes.length}`);
}

function malformed(message: string) {
  return signalingError('RELAY_FRAME_MALFORMED', message);
}
