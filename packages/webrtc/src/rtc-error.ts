/** `RTCError` and `RTCErrorEvent` (W3C WebRTC §11), as channels tell them that end with their connection. */

export type RTCErrorDetail = 'data-channel-failure' | 'dtls-failure' | 'sctp-failure';

export class RTCError extends DOMException {
  readonly errorDetail: RTCErrorDetail;

  constructor(init: { readonly errorDetail: RTCErrorDetail; readonly cause?: unknown }, message = '') {
    super(message, { name: 'OperationError', cause: init.cause });
    this.errorDetail = init.errorDetail;
  }
}

export class RTCErrorEvent extends Event {
  readonly error: RTCError;

  constructor(type: string, init: { readonly error: RTCError }) {
    super(type);
    this.error = init.error;
  }
}
