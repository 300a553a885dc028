/**
 * Who may ask: the short-term credentials of requests that come in (RFC 8489
 * §9.1.3), before a session sees them. Errors go out at a bounded rate, because
 * who cannot prove itself may be lying about its address.
 */

import type { TransportAddress } from '../address.ts';
import { ATTRIBUTE, ERROR, METHOD } from '../stun/constants.ts';
import { verifyIntegrity } from '../stun/integrity.ts';
import { type StunMessage, textOf, unknownRequired } from '../stun/message.ts';
import type { Base } from './base.ts';
import { encodeCheckError } from './check-messages.ts';
import { keyOf } from './parameters.ts';
import type { Session } from './session.ts';

const ERRORS_A_SECOND = 20;

export class CheckResponder {
  readonly #onProven: (base: Base) => void;
  #errorsLeft = ERRORS_A_SECOND;
  #errorsSinceMs = Number.NEGATIVE_INFINITY;

  /** `onProven`: a request with the right password came in by this base. */
  constructor(onProven: (base: Base) => void) {
    this.#onProven = onProven;
  }

  /** Answers one request. False when it had no effect: forged, malformed or replayed. */
  handle(
    sessions: readonly (Session | undefined)[],
    base: Base,
    message: StunMessage,
    from: TransportAddress,
    nowMs: number,
  ): boolean {
    // Who asks at a socket that the policy keeps for servers learns nothing of it.
    const admitting = sessions.filter((each) => each?.admits(base));
    if (admitting.length === 0) return false;
    const [named] = textOf(message, ATTRIBUTE.username)?.split(':', 1) ?? [];
    const isCheck = message.method === METHOD.binding && message.attributes.has(ATTRIBUTE.messageIntegrity);
    if (!isCheck || named === undefined) return this.#refuse(base, message, from, ERROR.badRequest, nowMs);
    const session = admitting.find((each) => each?.local.usernameFragment === named);
    if (!session || !verifyIntegrity(message, keyOf(session.local))) {
      return this.#refuse(base, message, from, ERROR.unauthenticated, nowMs);
    }
    this.#onProven(base);
    const unknown = unknownRequired(message);
    const answer =
      unknown.length > 0
        ? encodeCheckError(message, ERROR.unknownAttribute, 'Unknown Attribute', { local: session.local, unknown })
        : session.handleRequest(base, message, from, nowMs);
    if (!answer) return false;
    base.send('response', answer, from, nowMs);
    return true;
  }

  #refuse(base: Base, message: StunMessage, from: TransportAddress, code: number, nowMs: number): false {
    if (nowMs - this.#errorsSinceMs >= 1000) {
      this.#errorsSinceMs = nowMs;
      this.#errorsLeft = ERRORS_A_SECOND;
    }
    if (this.#errorsLeft <= 0) return false;
    this.#errorsLeft -= 1;
    const reason = code === ERROR.unauthenticated ? 'Unauthenticated' : 'Bad Request';
    base.send('response', encodeCheckError(message, code, reason), from, nowMs);
    return false;
  }
}
