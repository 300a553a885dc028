/** The child process: agents on command of the parent. */

import { type Agent, createAgent } from '../agent.ts';
import type { Reply, Request } from './child.ts';
import { type ChildEngine, loadEngine } from './child-engines.ts';

const engine = loadEngine(process.argv[2] as ChildEngine);
const agents = new Map<number, Agent>();
const tell = (reply: Reply) => {
  if (process.connected) process.send?.(reply);
};

process.on('message', (request: Request) => void answer(request));
process.on('disconnect', () => process.exit());
// An engine's own callbacks throw where nobody can catch; the cell finds out by what does not come.
process.on('uncaughtException', (error) => console.error(`${process.argv[2]}: ${error.stack}`));

async function answer({ id, peer, method, args }: Request): Promise<void> {
  try {
    if (method === 'forget peer') {
      agents.get(peer)?.closeConnection();
      agents.delete(peer);
      return tell({ id });
    }
    const loaded = await engine;
    const agent = agents.get(peer) ?? createAgent(loaded, (signal) => tell({ peer, signal }));
    agents.set(peer, agent);
    const run = agent[method as keyof Agent] as (...args: readonly unknown[]) => unknown;
    tell({ id, value: await run(...args) });
  } catch (error) {
    tell({ id, error: error instanceof Error ? `${error.name}: ${error.message}` : String(error) });
  }
}
