export type { HttpProxy } from './http-proxy.ts';
export { listLocalAddresses } from './interfaces.ts';
export { NodeIceTransport, type NodeIceTransportOptions } from './node-ice-transport.ts';
