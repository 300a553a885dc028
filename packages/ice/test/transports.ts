/** Introduces two transports to each other, as signaling would. */

import { type IceState, IceTransport, type IceTransportOptions } from '../src/index.ts';
import { NodeSockets, type NodeSocketsOptions } from '../src/node/index.ts';

export interface NodeTransportOptions extends Omit<IceTransportOptions, 'sockets'>, NodeSocketsOptions {}

/** A transport on the sockets of this machine. */
export function nodeTransport({ loopback, proxy, ca, ...options }: NodeTransportOptions): IceTransport {
  return new IceTransport({ ...options, sockets: new NodeSockets({ loopback, proxy, ca }) });
}

/** Gathers on both, waits for all candidates, and hands over parameters and candidates at once. */
export async function connectTransports(a: IceTransport, b: IceTransport): Promise<void> {
  for (const each of [a, b]) each.gather();
  await Promise.all([a, b].map((each) => untilGathered(each)));
  introduce(a, b);
  introduce(b, a);
}

export function introduce(from: IceTransport, to: IceTransport): void {
  to.act((agent, nowMs) => {
    agent.setRemoteParameters(from.agent.localParameters, nowMs);
    for (const candidate of from.agent.localCandidates) agent.addRemoteCandidate(candidate, nowMs);
    agent.endOfCandidates(nowMs);
  });
}

export function untilGathered(transport: IceTransport): Promise<void> {
  return until(() => transport.agent.isGatheringComplete, 'gathering');
}

export function untilState(transport: IceTransport, ...states: IceState[]): Promise<void> {
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
