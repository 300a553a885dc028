/** coturn as the topology's STUN and TURN server: RFC 8489, 8656 and, with a second address, 5780. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ServiceSpec } from '@claw/scenarios';
import type { LabServices } from '../../contestants/contract.ts';
import { addressesOf, firstIpv4, type NodePlan } from '../node-plan.ts';
import { makeCertificate } from './certificate.ts';
import type { ServiceProgram } from './service.ts';

type TurnSpec = Extract<ServiceSpec, { kind: 'turn' }>;

const REALM = 'claw.lab';
const USERNAME = 'claw';

export interface Coturn {
  readonly program: ServiceProgram;
  readonly facts: NonNullable<LabServices['turn']>;
}

/** `credential` becomes the password of the one user; it stands only in a file of mode 0600. */
export async function prepareCoturn(
  node: NodePlan,
  spec: TurnSpec,
  folder: string,
  credential: string,
): Promise<Coturn> {
  const addresses = addressesOf(node);
  const listening = [...addresses, ...(spec.otherIpv4 ? [spec.otherIpv4] : [])];
  const host = firstIpv4(node) ?? '';
  const { udp = 3478, tcp = 3478, tls = 5349 } = spec;
  const files = await makeCertificate(folder, [...listening.map((each) => `IP:${each}`), `DNS:${node.name}.lab`]);
  const config = [
    ...listening.map((address) => `listening-ip=${address}`),
    ...addresses.map((address) => `relay-ip=${address}`),
    `listening-port=${udp}`,
    `tls-listening-port=${tls}`,
    // A second port for TCP alone does not exist in coturn; an auxiliary server has both protocols.
    ...(tcp === udp ? [] : [`aux-server=${host}:${tcp}`]),
    `cert=${files.certificate}`,
    `pkey=${files.key}`,
    'lt-cred-mech',
    `user=${USERNAME}:${credential}`,
    `realm=${REALM}`,
    'fingerprint',
    'no-cli',
    'no-multicast-peers',
    'log-file=stdout',
    'simple-log',
    'no-stdout-log',
    `userdb=${join(folder, 'users.db')}`,
    `pidfile=${join(folder, 'pid')}`,
    'relay-threads=1',
    'max-port=65535',
    'min-port=49152',
  ];
  const file = join(folder, 'turnserver.conf');
  writeFileSync(file, `${config.join('\n')}\n`, { mode: 0o600 });
  return {
    program: {
      kind: 'turn',
      command: ['turnserver', '-c', file],
      debianPackage: 'coturn',
      ports: [
        { protocol: 'udp', port: udp },
        { protocol: 'tcp', port: tcp },
        { protocol: 'tcp', port: tls },
      ],
      folder,
    },
    facts: { host, udp, tcp, tls, username: USERNAME, credential, caFile: files.authority },
  };
}
