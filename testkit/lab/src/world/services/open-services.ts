/** All services of a topology, started side by side. */

import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { ServiceSpec } from '@claw/scenarios';
import type { LabServices } from '../../contestants/contract.ts';
import { firstIpv4, type NodePlan } from '../node-plan.ts';
import type { NodeRunner } from '../node-runner.ts';
import { prepareCoturn } from './coturn.ts';
import { prepareDns } from './dns.ts';
import { prepareHttpProxy } from './http-proxy.ts';
import { Service, type ServiceProgram } from './service.ts';

export interface OpenServices {
  readonly running: readonly Service[];
  /** Of each kind the first of the topology. */
  readonly facts: LabServices;
}

const HTTP_PROXY_PORT = 3128;
const DNS_PORT = 53;

export async function openServices(
  nodes: ReadonlyMap<string, NodePlan>,
  runner: NodeRunner,
  runFolder: string,
): Promise<OpenServices> {
  const wanted = [...nodes.values()].flatMap((node) => (node.spec.services ?? []).map((spec) => ({ node, spec })));
  const prepared = await Promise.all(
    wanted.map(async ({ node, spec }) => {
      const folder = join(runFolder, `${node.name}-${spec.kind}`);
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      const { program, facts } = await prepare(node, spec, nodes.values(), folder);
      return { service: new Service(node, program, runner), facts };
    }),
  );
  const running = prepared.map(({ service }) => service);
  await Promise.all(running.map((service) => service.start()));
  const host = wanted[0] && firstIpv4(wanted[0].node);
  const facts = Object.assign({}, ...prepared.map((each) => each.facts).reverse()) as LabServices;
  return { running, facts: host === undefined ? facts : { ...facts, publicHost: host } };
}

async function prepare(
  node: NodePlan,
  spec: ServiceSpec,
  nodes: Iterable<NodePlan>,
  folder: string,
): Promise<{ program: ServiceProgram; facts: LabServices }> {
  const secret = randomBytes(12).toString('hex');
  switch (spec.kind) {
    case 'turn': {
      const { program, facts } = await prepareCoturn(node, spec, folder, secret);
      return { program, facts: { turn: facts } };
    }
    case 'http-proxy': {
      const { program, facts } = prepareHttpProxy(node, spec.port ?? HTTP_PROXY_PORT, folder, secret);
      return { program, facts: { httpProxy: facts } };
    }
    case 'dns': {
      const { program, facts } = prepareDns(node, nodes, spec.port ?? DNS_PORT, folder);
      return { program, facts: { dns: facts } };
    }
  }
}
