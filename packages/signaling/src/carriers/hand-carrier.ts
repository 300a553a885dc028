/**
 * Envelopes that people carry: a block of text for mail, chat or paper. What
 * mailers do to text (wrapping, quoting, invisible characters) does no harm;
 * anything else is noticed by the checksum and said in a sentence.
 *
 *   claw-envelope:<base64url of the bytes>.<base64url of the first 4 bytes of their SHA-256>
 */

import { hash } from 'node:crypto';
import type { Carrier, EnvelopeHandler, NodeId } from '@claw/contracts';
import { MAX_ENVELOPE_BYTES } from '../envelope.ts';
import { signalingError } from '../errors.ts';
import { CarrierCounters, type CountedCarrierStatus } from './carrier-counters.ts';

export const HAND_TEXT_PREFIX = 'claw-envelope:';

const CHECKSUM_BYTES = 4;
const CHECKSUM_LENGTH = 6;
/** Room for an envelope in base64 with a line break and a quotation mark every few characters. */
const MAX_TEXT_LENGTH = 4 * MAX_ENVELOPE_BYTES;
/** White space, invisible characters, and what people and mailers put around or before a quotation. */
const DECORATION = /[\s\u00ad\u200b-\u200d\u2060\ufeff<>"'`]+/gu;
const BASE64URL = /^[A-Za-z0-9_-]*$/;

export interface HandCarrierOptions {
  /** Receives each outgoing envelope as text for a person to pass on. */
  readonly onText: (text: string, to: NodeId) => void;
  readonly onEnvelope: EnvelopeHandler;
  /** Default `hand`. */
  readonly name?: string;
}

export interface HandCarrier extends Carrier {
  status(): CountedCarrierStatus;
  /**
   * Takes a text that a person brought.
   * @throws ClawError `HAND_TEXT_INVALID` whose message says what is wrong with it.
   */
  accept(text: string): void;
}

/** The text form of an envelope. */
export function writeHandText(envelope: Uint8Array): string {
  return `${HAND_TEXT_PREFIX}${Buffer.from(envelope).toString('base64url')}.${checksum(envelope)}`;
}

/**
 * The envelope in a text.
 * @throws ClawError `HAND_TEXT_INVALID`.
 */
export function readHandText(text: string): Buffer {
  if (text.length > MAX_TEXT_LENGTH) throw invalid(`The text is far too long: ${text.length} characters.`);
  const bare = text.replace(DECORATION, '');
  if (bare === '') throw invalid('The text is empty.');
  if (bare.slice(0, HAND_TEXT_PREFIX.length).toLowerCase() !== HAND_TEXT_PREFIX) {
    if (HAND_TEXT_PREFIX.startsWith(bare.toLowerCase())) throw cutOff();
    throw invalid(`The text does not begin with "${HAND_TEXT_PREFIX}". Copy the whole block, from that word on.`);
  }
  const [body = '', sum, ...rest] = bare.slice(HAND_TEXT_PREFIX.length).split('.');
  if (sum === undefined || sum.length < CHECKSUM_LENGTH) throw cutOff();
  if (rest.length > 0 || sum.length > CHECKSUM_LENGTH) {
    throw invalid('Something follows the end of the block. Copy the block alone.');
  }
  const envelope = Buffer.from(body, 'base64url');
  if (!BASE64URL.test(body) || envelope.toString('base64url') !== body || checksum(envelope) !== sum) {
    throw invalid('The text was altered on its way: its checksum does not match. Copy it once more.');
  }
  if (envelope.length === 0) throw invalid('The block holds nothing.');
  return envelope;
}

export function openHandCarrier(options: HandCarrierOptions): HandCarrier {
  const counters = new CarrierCounters();
  const name = options.name ?? 'hand';
  let closed = false;
  const close = async () => {
    closed = true;
  };
  return {
    name,
    maxEnvelopeBytes: MAX_ENVELOPE_BYTES,
    status: () => counters.status(name, closed ? 'down' : 'up', closed ? 'closed' : 'text passed on by people'),
    send(to, envelope) {
      if (closed || envelope.length > MAX_ENVELOPE_BYTES) return counters.dropped();
      counters.sent(envelope.length);
      options.onText(writeHandText(envelope), to);
    },
    accept(text) {
      const envelope = readHandText(text);
      if (closed) return;
      counters.received(envelope.length);
      options.onEnvelope(envelope);
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

function checksum(envelope: Uint8Array): string {
  return hash('sha256', envelope, 'buffer').toString('base64url', 0, CHECKSUM_BYTES);
}

function invalid(message: string) {
  return signalingError('HAND_TEXT_INVALID', message);
}

function cutOff() {
  return invalid('The text is cut off: its end is missing. Copy the whole block, to the last character.');
}
