/** A peer of the matrix: an {@link Agent} wherever it runs, and the table of what its engine cannot do. */

import type { Agent, ChannelFacts, ChannelInit, Signal } from './agent.ts';
import type { CellName } from './cell.ts';

/** A call that takes longer has failed; cells that wait on purpose wait on our side. */
const CALL_TIMEOUT_MS = process.env['CLAW_INTEROP'] === 'full' ? 60_000 : 20_000;

type Remote<T> = {
  readonly [K in keyof T]: T[K] extends (...args: infer A) => infer R ? (...args: A) => Promise<Awaited<R>> : never;
};

export interface InteropPeer extends Remote<Agent>, AsyncDisposable {
  /** Told of candidates and descriptions. */
  onSignal: (signal: Signal) => void;
}

export interface PeerHost extends AsyncDisposable {
  /** A connection of its own; the host stays. */
  newPeer(): Promise<InteropPeer>;
}

/** Who offers, and who of both is the DTLS client. */
export type RolesName = `${'we' | 'they'} offer, ${'we' | 'they'} begin DTLS`;

export interface PeerKind {
  /** With its version. */
  readonly name: string;
  /** Why it cannot run here; undefined when it can. */
  readonly missing: string | undefined;
  launch(): Promise<PeerHost>;
  /** The newest version of DTLS that it speaks. */
  readonly dtls: '1.2' | '1.3';
  /** The greatest message that it takes by default, in bytes. */
  readonly takesBytes: number;
  /** What it is made with so that it takes and sends 16 MiB. */
  readonly greatConfig?: Readonly<Record<string, unknown>>;
  /** Cells that its engine cannot pass, and why. */
  readonly exceptions: Readonly<Partial<Record<CellName, string>>>;
  /** Cells that take it so long that only the long mode has them. */
  readonly slow?: readonly CellName[];
  /** Combinations of roles that its engine cannot take, and why. */
  readonly fixedRoles?: Readonly<Partial<Record<RolesName, string>>>;
  /** Why a cell may fail and pass when it is tried again. */
  readonly races?: string;
  /** Why the settings of a channel cannot be read from it. */
  readonly hidesSettings?: string;
  /** What of the channels that it opens it tells wrongly. */
  readonly opensAs?: (init: ChannelInit) => Partial<ChannelFacts>;
  /** Why it sends no empty message. */
  readonly sendsNoEmpty?: string;
  /** Why it sends messages greater than we take. */
  readonly ignoresOurLimit?: string;
}

/** Runs one method of an agent. */
export type Call = (method: string, args: readonly unknown[]) => Promise<unknown>;

export function remotePeer(name: string, call: Call, dispose: () => Promise<void>): InteropPeer {
  const own = { onSignal: () => {}, [Symbol.asyncDispose]: dispose };
  return new Proxy(own as unknown as InteropPeer, {
    get(target, key) {
      // It is no promise, whoever asks.
      if (typeof key === 'symbol' || key in target || key === 'then') return Reflect.get(target, key) as unknown;
      return (...args: unknown[]) => withDeadline(`${name}: ${key}`, call(key, args));
    },
  });
}

async function withDeadline<T>(what: string, promise: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new Error(`${what} took more than ${CALL_TIMEOUT_MS} ms`)),
    CALL_TIMEOUT_MS,
  );
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
