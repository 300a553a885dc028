export { createGatewayClient, type GatewayErrorCode, readSession } from './api/index.ts';
export type { NodeErrorCode } from './errors.ts';
export { Node, type NodeOptions } from './node/node.ts';
export { type NodeApi, type NodeApiOptions, openNodeApi } from './node/node-api.ts';
export type { DoctorView, ForwardView, PeerView, ShareView, StatusView } from './node/views.ts';
export { splitCommandLine } from './services/command-line.ts';
export { loadSettings, type SettingsErrorCode } from './settings/index.ts';
export type { SendProgress, SentFile } from './transfer/send-file.ts';
