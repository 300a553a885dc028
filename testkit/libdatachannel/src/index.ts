export { createNodeDataChannelEngine, type NodeDataChannelEngineOptions } from './engine.ts';
export type { EngineErrorCode } from './errors.ts';
