/**
 * A connection of a process with itself, before anybody waits for one: the first
 * set-up of a process loads and compiles code for 40 ms.
 */

import { type Clock, systemClock } from '@claw/base';
import { createWebrtcEngine } from './engine.ts';

const DEADLINE_MS = 2000;

/** Resolves once it is done, or has not worked within two seconds: nothing depends on it. */
export async function rehearse(clock: Clock = systemClock): Promise<void> {
  const engine = createWebrtcEngine({ addresses: ['127.0.0.1'], clock });
  const [offerer, answerer] = [engine.createPeerConnection({}), engine.createPeerConnection({})];
  const over = Promise.withResolvers<void>();
  const deadline = clock.setTimer(DEADLINE_MS, () => over.resolve());
  try {
    const init = { negotiated: true, id: 0 } as const;
    const out = offerer.createDataChannel('rehearsal', init);
    answerer.createDataChannel('rehearsal', init).onmessage = () => over.resolve();
    out.onopen = () => out.send(Buffer.of(1));
    offerer.onicecandidate = (candidate) => void (candidate && answerer.addIceCandidate(candidate));
    answerer.onicecandidate = (candidate) => void (candidate && offerer.addIceCandidate(candidate));
    await answerer.setRemoteDescription(await offerer.setLocalDescription());
    await offerer.setRemoteDescription(await answerer.setLocalDescription());
    await over.promise;
  } catch {
    // The first real one will say what is wrong.
  } finally {
    deadline.cancel();
    offerer.close();
    answerer.close();
  }
}
