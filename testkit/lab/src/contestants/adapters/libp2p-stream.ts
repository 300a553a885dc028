/** A libp2p stream (version 3: events, and `send` that says when to wait) as a Node.js Duplex. */

import { Duplex } from 'node:stream';
import { callbackify } from 'node:util';

type StreamEvent = Event & {
  readonly data?: Uint8Array | { subarray(): Uint8Array };
  readonly error?: Error;
};

export interface Libp2pStream {
  readonly writableNeedsDrain: boolean;
  send(data: Uint8Array): boolean;
  onDrain(): Promise<void>;
  addEventListener(name: 'message' | 'close' | 'remoteCloseWrite', listener: (event: StreamEvent) => void): void;
  pause(): void;
  resume(): void;
  close(): Promise<void>;
  abort(error: Error): void;
}

export function streamDuplex(stream: Libp2pStream): Duplex {
  const duplex = new Duplex({
    read: () => stream.resume(),
    write: callbackify(async (chunk: Buffer, _encoding: string) => {
      if (!stream.send(chunk)) await stream.onDrain();
    }),
    final: callbackify(() => stream.close()),
    destroy(error, done) {
      if (error) stream.abort(error);
      done(error);
    },
  });
  stream.addEventListener('message', ({ data }) => {
    if (!data) return;
    const bytes = data instanceof Uint8Array ? data : data.subarray(); // the second is a Uint8ArrayList
    if (!duplex.push(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))) stream.pause();
  });
  stream.addEventListener('remoteCloseWrite', () => duplex.push(null));
  stream.addEventListener('close', ({ error }) => duplex.destroy(error));
  return duplex;
}
