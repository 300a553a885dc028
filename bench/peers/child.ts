/** The other process of a pair: answers, and does with messages what it is told. */

import { openBare } from './bare.ts';
import { costOfProcess } from './cost.ts';
import { type Endpoint, sharedNowMs } from './endpoint.ts';
import { addressOf, type LinkHost, openLink, openLinkHost } from './link.ts';
import { openOwn } from './own.ts';
import { createParentPipe, type Order, portMapper } from './protocol.ts';

let host: LinkHost | undefined;
let endpoint: Endpoint | undefined;
/** Those that are only there. */
const kept: Endpoint[] = [];

const pipe = createParentPipe();

async function follow(order: Order): Promise<unknown> {
  switch (order.order) {
    case 'host':
      host = await openLinkHost();
      return addressOf(host);
    case 'open': {
      const options = {
        role: 'answerer',
        pipe: pipe.signaling(),
        ...(order.delayed && { mapPort: portMapper(pipe) }),
      } as const;
      const bare = order.contestant === 'own' ? openOwn : openBare;
      endpoint = order.peer && host ? openLink(host, order.peer, options) : bare(options);
      return undefined;
    }
    case 'first-message':
      return new Promise<number>((resolve) => {
        (endpoint as Endpoint).onMessage = () => resolve(sharedNowMs());
      });
    case 'echo':
      (endpoint as Endpoint).onMessage = (message) => void (endpoint as Endpoint).send(message);
      return undefined;
    case 'echo-urgent': {
      const { urgent } = endpoint as Endpoint;
      if (urgent) urgent.onMessage = (message) => urgent.send(message);
      return undefined;
    }
    case 'keep':
      kept.push(endpoint as Endpoint);
      endpoint = undefined;
      return undefined;
    case 'count': {
      // Resolves when `bytes` have arrived after the first message.
      let first = 0;
      let counted = 0;
      const cpu = process.cpuUsage();
      return new Promise((resolve) => {
        (endpoint as Endpoint).onMessage = (message) => {
          if (first === 0) {
            first = sharedNowMs();
            return;
          }
          counted += message.length;
          if (counted < order.bytes) return;
          (endpoint as Endpoint).onMessage = () => {};
          const { user, system } = process.cpuUsage(cpu);
          resolve({ ms: sharedNowMs() - first, cpuMs: (user + system) / 1000 });
        };
      });
    }
    case 'cost':
      return costOfProcess();
    case 'close':
      await endpoint?.close();
      endpoint = undefined;
      return undefined;
    case 'end':
      await endpoint?.close();
      await Promise.all(kept.map((each) => each.close()));
      await host?.close();
      setTimeout(() => process.exit(0), 50);
      return undefined;
  }
}

pipe.onOrder(follow);
process.on('disconnect', () => process.exit(0));
