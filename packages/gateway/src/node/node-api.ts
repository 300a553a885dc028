/** The local API of a node: its routes on the gateway server, and the session file by which the CLI finds it. */

import type { Random } from '@claw/base';
import { openGatewayServer, openSessionFile, TOKEN_BYTES } from '../api/index.ts';
import type { Node } from './node.ts';
import { nodeRoutes } from './node-routes.ts';
import { serviceRoutes, serviceUpgrades } from './service-routes.ts';

export interface NodeApiOptions {
  readonly node: Node;
  readonly random: Random;
  /** Somebody asked the node to stop. */
  readonly onShutdown: () => void;
}

export interface NodeApi extends AsyncDisposable {
  readonly port: number;
  close(): Promise<void>;
}

/** Serves `node` on a loopback port until it is closed; the token lives as long. */
export async function openNodeApi({ node, random, onShutdown }: NodeApiOptions): Promise<NodeApi> {
  const token = random.bytes(TOKEN_BYTES);
  const { version } = node.keyHolder.facts;
  const server = await openGatewayServer({
    token,
    routes: [...nodeRoutes(node, onShutdown), ...serviceRoutes(node)],
    upgrades: serviceUpgrades(node),
    version,
    logger: node.logger,
    clock: node.clock,
  });
  const session = await openSessionFile(node.home, {
    port: server.port,
    token,
    pid: process.pid,
    startedAt: node.startedAtMs,
    version,
  });
  const close = async () => {
    await session[Symbol.asyncDispose]();
    await server.close();
  };
  return { port: server.port, close, [Symbol.asyncDispose]: close };
}
