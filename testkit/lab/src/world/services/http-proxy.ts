/** tinyproxy as an HTTP proxy that wants basic authentication and connects to any port. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LabServices } from '../../contestants/contract.ts';
import { firstIpv4, type NodePlan } from '../node-plan.ts';
import type { ServiceProgram } from './service.ts';

const USERNAME = 'claw';

export interface HttpProxy {
  readonly program: ServiceProgram;
  readonly facts: NonNullable<LabServices['httpProxy']>;
}

export function prepareHttpProxy(node: NodePlan, port: number, folder: string, password: string): HttpProxy {
  const file = join(folder, 'tinyproxy.conf');
  const config = [
    `Port ${port}`,
    `BasicAuth ${USERNAME} ${password}`,
    'Timeout 600',
    'MaxClients 200',
    'LogLevel Connect',
    'DisableViaHeader Yes',
  ];
  writeFileSync(file, `${config.join('\n')}\n`, { mode: 0o600 });
  const host = firstIpv4(node) ?? '';
  return {
    program: {
      kind: 'http-proxy',
      command: ['tinyproxy', '-d', '-c', file],
      debianPackage: 'tinyproxy-bin',
      ports: [{ protocol: 'tcp', port }],
      folder,
    },
    facts: { host, port, username: USERNAME, password },
  };
}
