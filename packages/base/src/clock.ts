/**
 * Time as a dependency. Nothing outside this file and the apps reads the
 * machine's clock or starts a timer, so every state machine runs the same in
 * virtual time.
 */

export interface Timer {
  /** Stops the timer; harmless when it has fired or was cancelled before. */
  cancel(): void;
}

export interface Clock {
  /** Wall-clock time, milliseconds since 1970-01-01 UTC. May step. */
  now(): number;
  /** Monotonic time in milliseconds, with fractions. Never steps. */
  monotonicMs(): number;
  /**
   * Calls `fire` once, `delayMs` from now; at 0 or below in the next turn. A pending timer does not keep the process
   * alive. Of timers that are due within a millisecond the system's fire in any order.
   */
  setTimer(delayMs: number, fire: () => void): Timer;
}

/** setTimeout's largest delay; a longer one would fire at once. */
const MAX_DELAY_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  setTimer(delayMs, fire) {
    if (delayMs <= 0) {
      // setTimeout takes a millisecond at the least. An immediate may keep the process for the turn: without that it waits for the next event.
      const handle = setImmediate(fire);
      return { cancel: () => clearImmediate(handle) };
    }
    const handle = setTimeout(fire, Math.min(delayMs, MAX_DELAY_MS));
    handle.unref();
    return { cancel: () => clearTimeout(handle) };
  },
};

/** Keeps the process alive until disposed of, for a wait that somebody at the keyboard waits for too. */
export function holdProcess(): Disposable {
  const handle = setInterval(() => {}, MAX_DELAY_MS);
  return { [Symbol.dispose]: () => clearInterval(handle) };
}

/**
 * Resolves after `delayMs`, or rejects with the signal's reason when aborted first.
 */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const onAbort = () => {
      timer.cancel();
      reject(signal?.reason);
    };
    const timer = clock.setTimer(delayMs, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/**
 * Settles as `promise` does, or rejects with what `onTimeout` returns once `delayMs` have passed.
 * The promise itself is not cancelled: pair this with an AbortSignal where it must be.
 */
export function withDeadline<T>(
  clock: Clock,
  promise: Promise<T>,
  delayMs: number,
  onTimeout: () => Error,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = clock.setTimer(delayMs, () => reject(onTimeout()));
    promise.then(
      (value) => {
        timer.cancel();
        resolve(value);
      },
      (error) => {
        timer.cancel();
        reject(error);
      },
    );
  });
}
