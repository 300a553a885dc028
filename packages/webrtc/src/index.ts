export { createWebrtcEngine, type WebrtcEngineOptions } from './engine.ts';
export type { EngineErrorCode } from './errors.ts';
