export { type CallOptions, createGatewayClient, type GatewayClient, type GatewayClientOptions } from './client.ts';
export {
  type ApiErrorCode,
  type AuthErrorCode,
  type ErrorBody,
  type GatewayClientErrorCode,
  type GatewayErrorCode,
} from './errors.ts';
export { TOKEN_BYTES } from './request-auth.ts';
export {
  type Method,
  type RequestContext,
  type Route,
  route,
  type StreamRoute,
  streamRoute,
  type UpgradeRoute,
  type ValueRoute,
} from './routes.ts';
export { type GatewayServer, type GatewayServerOptions, openGatewayServer } from './server.ts';
export { type GatewaySession, openSessionFile, readSession } from './session-file.ts';
