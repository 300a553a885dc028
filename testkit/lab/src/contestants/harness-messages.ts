/** Lines into commands and events. Each end was started by the other's code, so the shape is checked only as far as a wrong program would be noticed. */

import type { HarnessCommand, HarnessEvent } from './contract.ts';

const COMMANDS: readonly HarnessCommand['do'][] = ['load', 'open', 'serve', 'signal', 'measure', 'close'];
const EVENTS: readonly HarnessEvent['event'][] = [
  ...(['serving', 'ready', 'signal', 'connected', 'failed', 'measured', 'closed'] as const),
];

/** `undefined` for a line that is no command. */
export function parseCommand(line: string): HarnessCommand | undefined {
  const document = parseObject(line);
  if (!document || !(COMMANDS as unknown[]).includes(document['do'])) return undefined;
  const needed = NEEDED[document['do'] as HarnessCommand['do']];
  const fits = needed.every(([name, type]) => typeof document[name] === type);
  return fits ? (document as unknown as HarnessCommand) : undefined;
}

/** `undefined` for a line that is no event. */
export function parseEvent(line: string): HarnessEvent | undefined {
  const document = parseObject(line);
  return document && (EVENTS as unknown[]).includes(document['event'])
    ? (document as unknown as HarnessEvent)
    : undefined;
}

const NEEDED: Record<HarnessCommand['do'], readonly (readonly [name: string, type: string])[]> = {
  load: [
    ['role', 'string'],
    ['seed', 'number'],
    ['folder', 'string'],
  ],
  open: [
    ['services', 'object'],
    ['peerAddresses', 'object'],
    ['proxyOnly', 'boolean'],
    ['timeoutMs', 'number'],
  ],
  serve: [
    ['host', 'string'],
    ['folder', 'string'],
  ],
  signal: [],
  measure: [
    ['pings', 'number'],
    ['bulkMs', 'number'],
    ['watchMs', 'number'],
  ],
  close: [],
};

function parseObject(line: string): Record<string, unknown> | undefined {
  try {
    const document: unknown = JSON.parse(line);
    return typeof document === 'object' && document !== null ? (document as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
