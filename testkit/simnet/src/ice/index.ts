export type { SimProxy } from './open-tunnel.ts';
export { SimSockets, type SimSocketsOptions } from './sim-sockets.ts';
