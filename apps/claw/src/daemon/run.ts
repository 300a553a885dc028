/** The composition of a daemon: which engine, which clock, a node and its local API. */

import { type Logger, systemClock, systemRandom } from '@claw/base';
import { Node, openNodeApi } from '@claw/gateway';
import type { KeyUnlock } from '@claw/identity';
import { createWebrtcEngine, rehearse } from '@claw/webrtc';

export interface RunOptions {
  readonly home: string;
  readonly unlock: KeyUnlock;
  readonly logger: Logger;
}

export interface RunningDaemon {
  readonly port: number;
  readonly nodeId: string;
  /** Resolves when somebody asked it to stop, or it cannot go on. */
  readonly stopping: Promise<void>;
  /** Resolves when everything has ended. */
  readonly stopped: Promise<void>;
  stop(): void;
}

export async function runDaemon({ home, unlock, logger }: RunOptions): Promise<RunningDaemon> {
  const stopping = Promise.withResolvers<void>();
  const node = await Node.open({
    home,
    unlock,
    engine: createWebrtcEngine({
      onHandlerError: (error) => logger.error('engine.handler-failed', { detail: String(error) }),
    }),
    clock: systemClock,
    random: systemRandom,
    logger,
    onFatal: (error) => {
      logger.error('node.fatal', { detail: error.message });
      stopping.resolve();
    },
  });
  try {
    const api = await openNodeApi({ node, random: systemRandom, onShutdown: () => stopping.resolve() });
    logger.info('node.ready', { id: node.keyHolder.nodeId, port: api.port, version: node.keyHolder.facts.version });
    const rehearsed = rehearse();
    const stopped = stopping.promise.then(async () => {
      await rehearsed;
      await api.close();
      await node.close();
      logger.info('node.stopped');
    });
    return {
      port: api.port,
      nodeId: node.keyHolder.nodeId,
      stopping: stopping.promise,
      stopped,
      stop: () => stopping.resolve(),
    };
  } catch (error) {
    await node.close();
    throw error;
  }
}
