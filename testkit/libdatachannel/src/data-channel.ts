/**
 * One negotiated data channel over the library's. The library hands over its
 * events through one queue per kind, so a message may overtake the opening it
 * belongs behind; this class restores the order and ends it at the close.
 */

import { ClawError } from '@claw/base';
import type { RtcDataChannel, RtcDataChannelInit, RtcDataChannelState } from '@claw/contracts';
import type { DataChannel as NativeChannel } from 'node-datachannel';
import { callNative, closedError, type EngineErrorCode, failedError } from './errors.ts';

/** Runs a handler of the owner's; whatever it throws is reported, not thrown. */
export type RunHandler = (handler: () => void) => void;

export class NodeDataChannel implements RtcDataChannel {
  readonly id: number;
  readonly label: string;
  onopen: (() => void) | null = null;
  onmessage: ((data: Uint8Array) => void) | null = null;
  onbufferedamountlow: (() => void) | null = null;
  onclose: (() => void) | null = null;
  onerror: ((error: Error) => void) | null = null;

  readonly #native: NativeChannel;
  readonly #run: RunHandler;
  readonly #beforeOpen: () => void;
  #state: RtcDataChannelState = 'connecting';
  #lowThreshold = 0;

  /** `beforeOpen` lets the connection tell first that it is connected. */
  constructor(native: NativeChannel, label: string, init: RtcDataChannelInit, run: RunHandler, beforeOpen: () => void) {
    this.#native = native;
    this.#run = run;
    this.#beforeOpen = beforeOpen;
    this.id = init.id;
    this.label = label;
    native.onOpen(() => run(() => this.#open()));
    native.onMessage((data) => run(() => this.#receive(data)));
    native.onBufferedAmountLow(() => run(() => this.#drained()));
    native.onError((text) => run(() => this.#fail(text)));
    native.onClosed(() => run(() => this.#closed()));
  }

  get readyState(): RtcDataChannelState {
    return this.#state;
  }

  get bufferedAmount(): number {
    if (this.#state !== 'open') return 0;
    try {
      return this.#native.bufferedAmount();
    } catch (cause) {
      throw failedError('read the buffered amount', cause);
    }
  }

  get bufferedAmountLowThreshold(): number {
    return this.#lowThreshold;
  }

  set bufferedAmountLowThreshold(bytes: number) {
    this.#lowThreshold = bytes;
    if (this.#state === 'closing' || this.#state === 'closed') return;
    callNative('set the low threshold', () => this.#native.setBufferedAmountLowThreshold(bytes));
  }

  send(data: Uint8Array): void {
    if (this.#state !== 'open') {
      if (this.#state === 'connecting') throw notOpen(this.label);
      throw closedError(`send on channel ${this.label}`);
    }
    try {
      this.#native.sendMessageBinary(data); // false means buffered, which bufferedAmount tells
    } catch (cause) {
      throw failedError(`send ${data.byteLength} bytes on channel ${this.label}`, cause);
    }
  }

  close(): void {
    if (this.#state === 'closing' || this.#state === 'closed') return;
    this.#state = 'closing';
    callNative('close a channel', () => this.#native.close());
    queueMicrotask(() => this.#run(() => this.#closed()));
  }

  /** Ends the channel without an event: its connection was closed by the owner. */
  dispose(): void {
    this.#state = 'closed';
    callNative('close a channel', () => this.#native.close());
  }

  /** Ends the channel because its connection ended. */
  connectionEnded(): void {
    this.#run(() => this.#closed());
  }

  #open(): void {
    if (this.#state !== 'connecting') return;
    this.#beforeOpen();
    // The owner may have closed the connection in between.
    if (this.readyState !== 'connecting') return;
    this.#state = 'open';
    this.onopen?.();
  }

  #receive(data: string | Buffer | ArrayBuffer): void {
    // Only binary is ours to receive; a peer that sends text is not one of us.
    if (typeof data === 'string') return this.#fail('a text message came on a binary channel');
    if (this.#state === 'connecting') this.#run(() => this.#open());
    if (this.#state === 'open') this.onmessage?.(data instanceof ArrayBuffer ? new Uint8Array(data) : data);
  }

  #drained(): void {
    if (this.#state === 'open') this.onbufferedamountlow?.();
  }

  #fail(text: string): void {
    if (this.#state === 'closed' || this.#state === 'closing') return;
    this.onerror?.(new ClawError<EngineErrorCode>('ENGINE_FAILED', `channel ${this.label} failed: ${text}`));
  }

  #closed(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.onclose?.();
  }
}

function notOpen(label: string): ClawError<EngineErrorCode> {
  return new ClawError('ENGINE_FAILED', `cannot send on channel ${label}: it is not open yet`);
}
