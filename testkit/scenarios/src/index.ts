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
