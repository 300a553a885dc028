/**
 * Connections of a process with itself, before anybody waits for one: the first
 * set-up of a process loads and compiles code for 40 ms, and the next ones run code
 * that V8 has not found worth compiling well.
 */

import { type Clock, systemClock } from '@claw/base';
import type { RtcEngine } from '@claw/contracts';
import { createWebrtcEngine } from './engine.ts';

/** More gain little, and leave V8 with a heap that a third more of memory goes to with each connection after them. */
const CONNECTIONS = 3;
const DEADLINE_MS = 2000;

/** Resolves once it is done, or has not worked within two seconds: nothing depends on it. */
export async function rehearse(clock: Clock = systemClock): Promise<void> {
  const engine = createWebrtcEngine({ addresses: ['127.0.0.1'], clock });
  const untilMs = clock.monotonicMs() + DEADLINE_MS;
  for (let made = 0; made < CONNECTIONS && clock.monotonicMs() < untilMs; made++) {
    await connectWithin(untilMs - clock.monotonicMs(), engine, clock);
  }
}

async function connectWithin(delayMs: number, engine: RtcEngine, clock: Clock): Promise<void> {
  const [offerer, answerer] = [engine.createPeerConnection({}), engine.createPeerConnection({})];
  const over = Promise.withResolvers<void>();
  const deadline = clock.setTimer(delayMs, () => over.resolve());
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
