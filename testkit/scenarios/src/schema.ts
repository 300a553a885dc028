/**
 * The shape of the files under `data/`: misspelt keys, shares above one and
 * unknown kinds are refused with the place and what was expected.
 */

import * as v from 'valibot';
import type { ScenarioEvent } from './scenario.ts';
import type { FirewallSpec, LinkSpec, NatSpec, ServiceSpec } from './topology.ts';

const share = v.pipe(v.number(), v.minValue(0), v.maxValue(1));
const duration = v.pipe(v.number(), v.minValue(0), v.maxValue(3_600_000));
const rate = v.pipe(v.number(), v.minValue(1000));
const bytes = v.pipe(v.number(), v.integer(), v.minValue(1));
const port = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_535));
const name = v.pipe(v.string(), v.regex(/^[a-z0-9][a-z0-9-]{0,31}$/, '1 to 32 of a-z, 0-9 and "-"'));
const dependence = v.picklist(['endpoint-independent', 'address-dependent', 'address-and-port-dependent']);
const text = v.pipe(v.string(), v.minLength(1));

const loss = v.variant('model', [
  v.strictObject({ model: v.literal('bernoulli'), share }),
  v.strictObject({
    model: v.literal('gilbert-elliott'),
    goodToBad: share,
    badToGood: share,
    lossInGood: share,
    lossInBad: share,
  }),
]);

const linkSchema: v.GenericSchema<unknown, LinkSpec> = v.strictObject({
  rateBitsPerSecond: v.exactOptional(rate),
  queueBytes: v.exactOptional(bytes),
  delayMs: v.exactOptional(duration),
  jitterMs: v.exactOptional(duration),
  loss: v.exactOptional(loss),
  reorder: v.exactOptional(v.strictObject({ share, holdMs: duration })),
  duplicateShare: v.exactOptional(share),
  corruptShare: v.exactOptional(share),
  dropAboveBytes: v.exactOptional(bytes),
  tokenBucket: v.exactOptional(v.strictObject({ rateBitsPerSecond: rate, burstBytes: bytes })),
});

const nat: v.GenericSchema<unknown, Omit<NatSpec, 'outside'>> = v.strictObject({
  mapping: dependence,
  filtering: dependence,
  ports: v.variant('kind', [
    v.strictObject({ kind: v.literal('preserving') }),
    v.strictObject({
      kind: v.literal('sequential'),
      first: v.exactOptional(port),
      stride: v.exactOptional(v.pipe(v.number(), v.integer(), v.minValue(1))),
    }),
    v.strictObject({ kind: v.literal('random') }),
    v.strictObject({ kind: v.literal('block'), blockSize: bytes, quota: bytes }),
  ]),
  hairpin: v.exactOptional(v.boolean()),
  mappingLifetimeMs: v.exactOptional(duration),
  foreignMappingsPerSecond: v.exactOptional(v.pipe(v.number(), v.minValue(0))),
  portMapping: v.exactOptional(v.array(v.picklist(['nat-pmp', 'pcp']))),
});

const firewall: v.GenericSchema<unknown, FirewallSpec> = v.strictObject({
  rules: v.array(
    v.strictObject({
      action: v.picklist(['accept', 'drop', 'reject']),
      from: v.exactOptional(text),
      to: v.exactOptional(text),
      protocol: v.exactOptional(v.picklist(['udp', 'tcp', 'icmp'])),
      ports: v.exactOptional(v.array(port)),
      addresses: v.exactOptional(v.array(text)),
    }),
  ),
});

const serviceSchema: v.GenericSchema<unknown, ServiceSpec> = v.variant('kind', [
  v.strictObject({
    kind: v.literal('turn'),
    udp: v.exactOptional(port),
    tcp: v.exactOptional(port),
    tls: v.exactOptional(port),
    otherIpv4: v.exactOptional(text),
  }),
  v.strictObject({ kind: v.literal('http-proxy'), port: v.exactOptional(port) }),
  v.strictObject({ kind: v.literal('dns'), port: v.exactOptional(port) }),
]);

export const accessSchema = v.strictObject({
  name,
  label: v.pipe(text, v.maxLength(14)),
  about: text,
  routers: v.array(v.strictObject({ nat: v.exactOptional(nat), firewall: v.exactOptional(firewall) })),
  httpProxy: v.exactOptional(v.boolean()),
});

const at = { atMs: duration, node: text };
const addresses = { ipv4: v.exactOptional(text), ipv6: v.exactOptional(text) };
const event: v.GenericSchema<unknown, ScenarioEvent> = v.variant('do', [
  v.strictObject({ do: v.picklist(['interface-down', 'interface-up']), ...at, interface: text }),
  v.strictObject({ do: v.literal('set-address'), ...at, interface: text, ...addresses }),
  v.strictObject({ do: v.literal('set-gateway'), ...at, ...addresses }),
  v.strictObject({
    do: v.literal('set-link'),
    ...at,
    interface: text,
    direction: v.picklist(['up', 'down', 'both']),
    link: linkSchema,
  }),
  v.strictObject({ do: v.literal('partition'), atMs: duration, nodes: v.array(text) }),
  v.strictObject({ do: v.literal('heal'), atMs: duration }),
  v.strictObject({ do: v.picklist(['sleep', 'wake']), ...at }),
  v.strictObject({ do: v.picklist(['service-down', 'service-up']), ...at, service: text }),
  v.strictObject({ do: v.literal('clock-step'), ...at, byMs: v.number() }),
]);

const measure = v.strictObject({
  pings: v.exactOptional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(1000))),
  bulkMs: v.exactOptional(duration),
  watchMs: v.exactOptional(duration),
});

const link = v.strictObject({ up: v.exactOptional(linkSchema), down: v.exactOptional(linkSchema) });
const interfacePatch = v.strictObject({
  network: text,
  ...addresses,
  mtuBytes: v.exactOptional(bytes),
  up: v.exactOptional(linkSchema),
  down: v.exactOptional(linkSchema),
  enabled: v.exactOptional(v.boolean()),
});

const common = {
  about: text,
  events: v.exactOptional(v.array(event)),
  measure,
  connectTimeoutMs: v.exactOptional(duration),
  signalDelayMs: v.exactOptional(duration),
  simnetOnly: v.exactOptional(text),
  labOnly: v.exactOptional(text),
};

/** A file of one scenario. */
export const scenarioFileSchema = v.strictObject({
  name,
  group: v.picklist(['switch', 'ladder', 'faults']),
  ...common,
  /** Names of access files. */
  peers: v.strictObject({ a: name, b: name }),
  /** What the way between each peer's outermost interface and the Internet does, instead of 10 ms each way. */
  links: v.exactOptional(v.strictObject({ a: v.exactOptional(link), b: v.exactOptional(link) })),
  /** Networks, interfaces of standing nodes, and gateways, on top of the two peers. */
  more: v.exactOptional(
    v.strictObject({
      networks: v.exactOptional(v.record(name, v.strictObject(addresses))),
      interfaces: v.exactOptional(v.record(name, v.record(name, interfacePatch))),
      gateways: v.exactOptional(v.record(name, v.strictObject(addresses))),
      services: v.exactOptional(v.array(serviceSchema)),
    }),
  ),
  /** Interfaces of a that have an address and lead nowhere. */
  uselessAddresses: v.exactOptional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(64))),
});

/** A file that stands for every pair of access kinds. */
export const matrixFileSchema = v.strictObject({ name, group: v.literal('nat'), ...common, kinds: v.array(name) });

export type ScenarioFile = v.InferOutput<typeof scenarioFileSchema>;
export type MatrixFile = v.InferOutput<typeof matrixFileSchema>;
