/** The services of a host, as models on its sockets. */

import type { ServiceSpec } from '@claw/scenarios';
import type { Host } from '../host/host.ts';
import { startHttpProxy } from './http-proxy.ts';
import { startTurnService } from './turn-service.ts';

export interface RunningService {
  close(): void;
}

export function startService(host: Host, spec: ServiceSpec): RunningService {
  switch (spec.kind) {
    case 'turn':
      return startTurnService(host, spec);
    case 'http-proxy':
      return startHttpProxy(host, spec);
    case 'dns':
      return { close: () => {} };
  }
}
