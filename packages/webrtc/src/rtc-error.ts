/** `RTCError` and `RTCErrorEvent` (W3C WebRTC §11), as channels and DTLS tell them that end with their connection. */

export type RTCErrorDetail = 'data-channel-failure' | 'dtls-failure' | 'fingerprint-failure' | 'sctp-failure';

export interface RTCErrorInit {
  readonly errorDetail: RTCErrorDetail;
  readonly sdpLineNumber?: number | null;
  readonly sctpCauseCode?: number | null;
  readonly receivedAlert?: number | null;
  readonly sentAlert?: number | null;
  /** Ours: it has a code that says more than the numbers, which stay null. */
  readonly cause?: unknown;
}

export class RTCError extends DOMException {
  readonly errorDetail: RTCErrorDetail;
  readonly sdpLineNumber: number | null;
  readonly sctpCauseCode: number | null;
  readonly receivedAlert: number | null;
  readonly sentAlert: number | null;

  constructor(init: RTCErrorInit, message = '') {
    super(message, { name: 'OperationError', cause: init.cause });
    this.errorDetail = init.errorDetail;
    this.sdpLineNumber = init.sdpLineNumber ?? null;
    this.sctpCauseCode = init.sctpCauseCode ?? null;
    this.receivedAlert = init.receivedAlert ?? null;
    this.sentAlert = init.sentAlert ?? null;
  }
}

export class RTCErrorEvent extends Event {
  readonly error: RTCError;

  constructor(type: string, init: { readonly error: RTCError }) {
    super(type);
    this.error = init.error;
  }
}
