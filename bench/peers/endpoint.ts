/**
 * What a contestant must do to be measured: be one end of a pair in a process of
 * its own, signal over the pipe between the two processes, connect, move messages.
 */

/** The pipe to the other process. */
export interface Pipe {
  send(message: unknown): void;
  onMessage(listener: (message: never) => void): void;
}

export interface EndpointOptions {
  readonly role: 'offerer' | 'answerer';
  readonly pipe: Pipe;
  /** Maps the port of a local candidate to the one that the other side should send to (delay line). */
  readonly mapPort?: (port: number) => Promise<number>;
}

export interface Endpoint {
  /** Resolves when the first application byte may be sent. */
  readonly ready: Promise<void>;
  /** Sends; a promise when the sender should wait before the next. */
  send(message: Buffer): void | Promise<unknown>;
  onMessage: (message: Buffer) => void;
  /** A second channel of the highest priority, where the contestant is an engine. */
  readonly urgent?: { send(message: Buffer): void; onMessage: (message: Buffer) => void };
  close(): Promise<void>;
}

/** Sends `message` and resolves when one comes back. */
export function roundTrip(channel: Pick<Endpoint, 'send' | 'onMessage'>, message: Buffer): Promise<number> {
  const started = performance.now();
  return new Promise((resolve) => {
    channel.onMessage = () => resolve(performance.now() - started);
    void channel.send(message);
  });
}

/** Monotonic time that processes of one machine share, in milliseconds. */
export function sharedNowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Replaces the port of a candidate line (RFC 8839 §5.1: the sixth field). */
export async function mapCandidate(candidate: string, mapPort: EndpointOptions['mapPort']): Promise<string> {
  if (!mapPort || candidate === '') return candidate;
  const fields = candidate.split(' ');
  fields[5] = String(await mapPort(Number(fields[5])));
  return fields.join(' ');
}
