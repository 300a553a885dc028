/** What travels on the pipe between the two processes of a pair: signals, orders, answers, port requests. */

import type { ChildProcess } from 'node:child_process';
import type { Pipe } from './endpoint.ts';
import type { PeerAddress } from './link.ts';

export type Order =
  | { readonly order: 'host' }
  | {
      readonly order: 'open';
      readonly contestant: 'link' | 'bare' | 'own';
      readonly peer?: PeerAddress;
      readonly delayed: boolean;
    }
  | { readonly order: 'first-message' | 'echo' | 'echo-urgent' | 'keep' | 'cost' | 'close' | 'end' }
  | { readonly order: 'count'; readonly bytes: number };

interface Wire {
  readonly signal?: unknown;
  readonly id?: number;
  readonly order?: Order;
  readonly answer?: unknown;
  readonly mapPort?: number;
  readonly mapped?: number;
}

type Sender = (message: Wire) => void;

/** The child's end. */
export function createParentPipe() {
  const send: Sender = (message) => void process.send?.(message);
  let onSignal: (signal: never) => void = () => {};
  let onOrder: (order: Order) => Promise<unknown> = async () => undefined;
  const ports = new Map<number, (port: number) => void>();
  const mappings = new Map<number, Promise<number>>();
  process.on('message', ({ signal, id, order, mapPort, mapped }: Wire) => {
    if (signal !== undefined) onSignal(signal as never);
    if (order && id !== undefined) void onOrder(order).then((answer) => send({ id, answer }));
    if (mapPort !== undefined && mapped !== undefined) ports.get(mapPort)?.(mapped);
  });
  return {
    signaling: (): Pipe => ({
      send: (signal) => send({ signal }),
      onMessage: (listener) => {
        onSignal = listener;
      },
    }),
    onOrder: (listener: typeof onOrder) => {
      onOrder = listener;
    },
    mapPort: (port: number): Promise<number> => {
      const known = mappings.get(port);
      if (known) return known;
      const asked = new Promise<number>((resolve) => ports.set(port, resolve));
      mappings.set(port, asked);
      send({ mapPort: port });
      return asked;
    },
  };
}

export function portMapper(pipe: ReturnType<typeof createParentPipe>) {
  return (port: number) => pipe.mapPort(port);
}

/** The parent's end: orders with answers, signals delayed on their way, ports mapped on request. */
export class ChildPipe {
  readonly #child: ChildProcess;
  readonly #delayMs: number;
  readonly #answers = new Map<number, (answer: unknown) => void>();
  #onSignal: (signal: never) => void = () => {};
  #nextId = 0;

  constructor(child: ChildProcess, delayMs: number, mapPort: (port: number) => Promise<number>) {
    this.#child = child;
    this.#delayMs = delayMs;
    child.on('message', ({ signal, id, answer, mapPort: port }: Wire) => {
      if (signal !== undefined) this.#later(() => this.#onSignal(signal as never));
      else if (port !== undefined) void mapPort(port).then((mapped) => child.send({ mapPort: port, mapped }));
      else if (id !== undefined) this.#answers.get(id)?.(answer);
    });
  }

  signaling(): Pipe {
    return {
      send: (signal) => this.#later(() => this.#child.send({ signal })),
      onMessage: (listener) => {
        this.#onSignal = listener;
      },
    };
  }

  order<T>(order: Order): Promise<T> {
    const id = this.#nextId++;
    return new Promise((resolve) => {
      this.#answers.set(id, (answer) => {
        this.#answers.delete(id);
        resolve(answer as T);
      });
      this.#child.send({ id, order });
    });
  }

  #later(work: () => void): void {
    if (this.#delayMs === 0) work();
    else setTimeout(work, this.#delayMs);
  }
}
