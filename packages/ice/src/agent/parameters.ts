/** Credentials of a generation (RFC 8445 §5.3, RFC 8839 §5.4) and the defaults of timing and limits. */

import type { Random } from '@claw/base';
import { iceError } from '../errors.ts';
import { ShortTermKey } from '../stun/short-term-key.ts';
import type { IceLimits, IceParameters, IceTiming } from './types.ts';

export const DEFAULT_TIMING: Required<IceTiming> = {
  firstPacingMs: 5,
  firstChecks: 64,
  pacingMs: 50,
  rtoMs: 200,
  consentIntervalMs: 5000,
  consentExpiryMs: 30_000,
  disconnectedMs: 2500,
  directGraceMs: 50,
  relayGraceMs: 500,
  tcpDelayMs: 200,
};

export const DEFAULT_LIMITS: Required<IceLimits> = {
  maxPairs: 256,
  maxRemoteCandidates: 128,
  maxPeerReflexive: 32,
  maxConnections: 32,
};

const ICE_TEXT = /^[\da-zA-Z+/]+$/;

/** 48 and 144 bits, above the 24 and 128 that the RFC asks for. */
export function randomParameters(random: Random): IceParameters {
  const text = (bytes: number) => random.bytes(bytes).toString('base64');
  return { usernameFragment: text(6), password: text(18), canRenominate: true, canEmbed: true };
}

const keys = new WeakMap<IceParameters, ShortTermKey>();

/** The key of everything that these parameters sign. */
export function keyOf(parameters: IceParameters): ShortTermKey {
  let key = keys.get(parameters);
  if (!key) {
    key = new ShortTermKey(parameters.password);
    keys.set(parameters, key);
  }
  return key;
}

/** Throws `ICE_PARAMETERS_INVALID`. */
export function checkParameters(parameters: IceParameters): IceParameters {
  const { usernameFragment, password } = parameters;
  check('username fragment', usernameFragment, 4);
  check('password', password, 22);
  return parameters;
}

function check(name: string, text: string, minLength: number): void {
  if (text.length >= minLength && text.length <= 256 && ICE_TEXT.test(text)) return;
  throw iceError('ICE_PARAMETERS_INVALID', `the ${name} is not ${minLength} to 256 characters of a–z, 0–9, + and /`);
}
