export { checkTopology } from './check-topology.ts';
export type { ScenarioErrorCode } from './errors.ts';
export { loadAccess, loadAccesses, loadScenarioFile, loadScenarios, selectScenarios } from './load.ts';
export type {
  AccessRouterSpec,
  AccessSpec,
  MeasureSpec,
  Scenario,
  ScenarioEvent,
  ScenarioGroup,
} from './scenario.ts';
export type {
  FirewallRule,
  FirewallSpec,
  InterfaceSpec,
  LinkSpec,
  LossSpec,
  NatDependence,
  NatSpec,
  NetworkSpec,
  NodeSpec,
  PortAllocationSpec,
  ServiceSpec,
  Topology,
} from './topology.ts';
export { INTERNET, SERVICES_HOST, type TwoPeersOptions, twoPeers } from './two-peers.ts';
