export { Backoff, type BackoffOptions } from './backoff.ts';
export { asBuffer, equalBytes, fromBase32, toBase32 } from './bytes.ts';
export { type Clock, sleep, systemClock, type Timer, withDeadline } from './clock.ts';
export { Emitter, type Unsubscribe } from './emitter.ts';
export { ClawError, type ClawErrorOptions, errorCode, errorText, isClawError } from './errors.ts';
export { type FileErrorCode, makePrivateDirectory, readFileIfPresent, withFileLock, writeFileAtomic } from './files.ts';
export { createLogger, type LogFields, type Logger, type LoggerOptions, type LogLevel, silentLogger } from './log.ts';
export { type Random, systemRandom } from './random.ts';
export { TaskScope, type TaskScopeOptions } from './scope.ts';
