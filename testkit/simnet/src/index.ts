export type { SimnetErrorCode } from './errors.ts';
export type { Endpoint, Flow, NatMapping, NatProtocol } from './nat/flow.ts';
export { NatCore, type NatCoreOptions } from './nat/nat-core.ts';
