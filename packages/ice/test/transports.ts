/** Introduces two transports to each other, as signaling would. */

import type { IceState } from '../src/index.ts';
import type { NodeIceTransport } from '../src/node/index.ts';

/** Gathers on both, waits for all candidates, and hands over parameters and candidates at once. */
export async function connectTransports(a: NodeIceTransport, b: NodeIceTransport): Promise<void> {
  for (const each of [a, b]) each.gather();
  await Promise.all([a, b].map((each) => untilGathered(each)));
  introduce(a, b);
  introduce(b, a);
}

export function introduce(from: NodeIceTransport, to: NodeIceTransport): void {
  to.act((agent, nowMs) => {
    agent.setRemoteParameters(from.agent.localParameters, nowMs);
    for (const candidate of from.agent.localCandidates) agent.addRemoteCandidate(candidate, nowMs);
    agent.endOfCandidates(nowMs);
  });
}

export function untilGathered(transport: NodeIceTransport): Promise<void> {
  return until(() => transport.agent.isGatheringComplete, 'gathering');
}

export function untilState(transport: NodeIceTransport, ...states: IceState[]): Promise<void> {
  return until(() => states.includes(transport.agent.state), states.join(' or '));
}

/** Polls between turns of the event loop; fails after ten seconds. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const endMs = performance.now() + 10_000;
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
