/** Waiting for what the other peer signals. */

import type { PeerContext } from '../contract.ts';

/** The next signal. For contestants that send one; later ones are dropped. */
export function nextSignal<T>(context: PeerContext): Promise<T> {
  return new Promise((resolve, reject) => {
    context.signal.addEventListener('abort', () => reject(context.signal.reason as Error), { once: true });
    context.onSignal((data) => resolve(data as T));
  });
}
