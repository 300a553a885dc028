export type { HttpProxy } from './http-proxy.ts';
export { listLocalAddresses } from './interfaces.ts';
export { NodeSockets, type NodeSocketsOptions } from './node-sockets.ts';
