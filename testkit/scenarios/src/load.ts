/** Reads the files under `data/` and makes scenarios of them. Every file is checked against its schema and its topology. */

import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import * as v from 'valibot';
import { checkTopology } from './check-topology.ts';
import { scenarioError } from './errors.ts';
import type { AccessSpec, Scenario } from './scenario.ts';
import { accessSchema, type MatrixFile, matrixFileSchema, type ScenarioFile, scenarioFileSchema } from './schema.ts';
import type { InterfaceSpec, NodeSpec, Topology } from './topology.ts';
import { SERVICES_HOST, twoPeers } from './two-peers.ts';

const DATA = join(import.meta.dirname, '..', 'data');
const FOLDERS = ['switch', 'ladder', 'faults'] as const;
const CONNECT_TIMEOUT_MS = 20_000;
const SIGNAL_DELAY_MS = 20;
const ACCESS_DELAY = { up: { delayMs: 10 }, down: { delayMs: 10 } };

/** The access kinds that the files of `data/access` describe, in the order of the matrix. */
export function loadAccesses(): readonly AccessSpec[] {
  return readMatrix().kinds.map((name) => loadAccess(name));
}

export function loadAccess(name: string): AccessSpec {
  return readJson(join(DATA, 'access', `${name}.json`), accessSchema);
}

/** Every scenario of the project, each group in the order of its files. */
export function loadScenarios(): readonly Scenario[] {
  const files = FOLDERS.flatMap((folder) =>
    readdirSync(join(DATA, folder))
      .filter((file) => file.endsWith('.json'))
      .toSorted()
      .map((file) => join(DATA, folder, file)),
  );
  return [...expandMatrix(readMatrix()), ...files.map((file) => loadScenarioFile(file))];
}

/** One scenario from a file, the project's or somebody's own. */
export function loadScenarioFile(file: string): Scenario {
  return makeScenario(readJson(file, scenarioFileSchema));
}

/** Scenarios whose name is, or begins with, one of `wanted`: `ladder`, `nat/eim-eif`, `nat/eim-eif/none`; a path ending in `.json` is read. */
export function selectScenarios(all: readonly Scenario[], wanted: readonly string[]): readonly Scenario[] {
  return wanted.flatMap((name) => {
    if (name.endsWith('.json')) return [loadScenarioFile(name)];
    const found = all.filter((scenario) => scenario.name === name || scenario.name.startsWith(`${name}/`));
    if (found.length > 0) return found;
    const groups = [...new Set(all.map((scenario) => scenario.group))].join(', ');
    throw scenarioError('SCENARIO_UNKNOWN', `There is no scenario "${name}".`, {
      hint: `There are the groups ${groups}; --list names every scenario.`,
    });
  });
}

function readMatrix(): MatrixFile {
  return readJson(join(DATA, 'nat-matrix.json'), matrixFileSchema);
}

function expandMatrix(file: MatrixFile): Scenario[] {
  const kinds = file.kinds.map((name) => loadAccess(name));
  return kinds.flatMap((a) =>
    kinds.map((b) => ({
      ...commonOf(file),
      name: `nat/${a.name}/${b.name}`,
      about: `a: ${a.about} b: ${b.about}`,
      topology: checked(`nat/${a.name}/${b.name}`, twoPeers({ a, b, links: { a: ACCESS_DELAY, b: ACCESS_DELAY } })),
      proxyOnly: proxyOnlyOf(a, b),
      cell: { row: a.name, column: b.name },
    })),
  );
}

function makeScenario(file: ScenarioFile): Scenario {
  const [a, b] = [loadAccess(file.peers.a), loadAccess(file.peers.b)];
  const links = { a: file.links?.a ?? ACCESS_DELAY, b: file.links?.b ?? ACCESS_DELAY };
  const name = `${file.group}/${file.name}`;
  return {
    ...commonOf(file),
    name,
    about: file.about,
    topology: checked(name, withMore(twoPeers({ a, b, links }), file)),
    proxyOnly: proxyOnlyOf(a, b),
  };
}

const commonOf = (file: ScenarioFile | MatrixFile) => ({
  group: file.group,
  events: file.events ?? [],
  measure: file.measure,
  connectTimeoutMs: file.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
  signalDelayMs: file.signalDelayMs ?? SIGNAL_DELAY_MS,
  ...(file.simnetOnly ? { simnetOnly: file.simnetOnly } : {}),
  ...(file.labOnly ? { labOnly: file.labOnly } : {}),
});

const proxyOnlyOf = (a: AccessSpec, b: AccessSpec) => ({ a: a.httpProxy ?? false, b: b.httpProxy ?? false });

function withMore(base: Topology, { more, uselessAddresses = 0 }: ScenarioFile): Topology {
  const networks = { ...base.networks, ...more?.networks };
  const nodes: Record<string, NodeSpec> = { ...base.nodes };
  const addInterfaces = (name: string, interfaces: Readonly<Record<string, InterfaceSpec>>) => {
    const node = nodes[name];
    if (!node)
      throw scenarioError('SCENARIO_INVALID', `"more" names the node "${name}", which the two peers do not have.`);
    nodes[name] = { ...node, interfaces: { ...node.interfaces, ...interfaces } };
  };
  for (const [name, interfaces] of Object.entries(more?.interfaces ?? {})) addInterfaces(name, interfaces);
  for (const [name, gateway] of Object.entries(more?.gateways ?? {})) {
    if (nodes[name]) nodes[name] = { ...nodes[name], gateway: { ...nodes[name].gateway, ...gateway } };
  }
  const services = nodes[SERVICES_HOST];
  if (more?.services && services) nodes[SERVICES_HOST] = { ...services, services: more.services };
  for (let index = 1; index <= uselessAddresses; index += 1) {
    networks[`void${index}`] = { ipv4: `10.99.${index}.0/24` };
    addInterfaces('a', { [`void${index}`]: { network: `void${index}`, ipv4: `10.99.${index}.10` } });
  }
  return { networks, nodes };
}

function checked(name: string, topology: Topology): Topology {
  checkTopology(topology, name);
  return topology;
}

function readJson<T>(file: string, schema: v.GenericSchema<unknown, T>): T {
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    throw missing
      ? scenarioError('SCENARIO_UNKNOWN', `There is no file ${basename(file)}.`, { cause })
      : scenarioError('SCENARIO_INVALID', `${basename(file)} is not JSON: ${(cause as Error).message}`, { cause });
  }
  const result = v.safeParse(schema, parsed);
  if (result.success) return result.output;
  const [issue] = result.issues;
  throw scenarioError('SCENARIO_INVALID', `${basename(file)}: ${v.getDotPath(issue) ?? 'the whole'}: ${issue.message}`);
}
