/**
 * The shape of `claw.json`. Each message is the phrase that follows "expected".
 * Root keys that are not here belong to others; below the root, every key is ours.
 */

import { isIPv6 } from 'node:net';
import { isAbsolute } from 'node:path';
import { compareVersions, isVersion } from '@claw/base';
import { isNodeId } from '@claw/contracts';
import * as v from 'valibot';

const MAX_RELAYS = 8;
const DEFAULT_INBOX_BYTES = 10 * 2 ** 30;

const NAME = /^[A-Za-z0-9._-]{1,32}$/;
const name = v.pipe(v.string(), v.regex(NAME, '1 to 32 letters, digits, ".", "_" or "-"'));

const directory = v.pipe(
  v.string(),
  v.check((text) => isAbsolute(text) && !text.includes('\0'), 'an absolute path'),
);

const relay = v.pipe(
  v.string(),
  v.check((text) => isUrl(text, ['ws:', 'wss:']), 'a ws:// or wss:// URL without credentials'),
);

const iceUrl = v.pipe(
  v.string(),
  v.regex(
    /^(?:stuns?|turns?):[^\s@/?]{1,255}(?:\?transport=(?:udp|tcp))?$/,
    'a stun:, stuns:, turn: or turns: URL such as turns:relay.example:443?transport=tcp',
  ),
);

const iceServer = v.strictObject({
  urls: v.union([iceUrl, v.array(iceUrl)]),
  username: v.optional(v.string()),
  credential: v.optional(v.string()),
});

const version = v.pipe(v.string(), v.check(isVersion, 'a semantic version such as 1.2.3'));

const policy = v.pipe(
  v.strictObject({
    integrity: v.optional(v.picklist(['require', 'warn', 'off']), 'warn'),
    minVersion: v.optional(version),
    maxVersion: v.optional(version),
  }),
  v.check(
    ({ minVersion, maxVersion }) => !minVersion || !maxVersion || compareVersions(minVersion, maxVersion) <= 0,
    'a maxVersion that is not below minVersion',
  ),
);

// Names are not taken: a name may come to mean another machine, a node id may not.
const to = v.optional(
  v.array(v.pipe(v.string(), v.check(isNodeId, 'the node id of a peer ("claw share NAME --to PEER" looks it up)'))),
  [],
);

const service = v.variant('kind', [
  v.strictObject({
    kind: v.literal('tcp'),
    target: v.pipe(v.string(), v.check(isHostPort, 'HOST:PORT such as 127.0.0.1:22')),
    to,
  }),
  v.strictObject({
    kind: v.literal('http'),
    target: v.pipe(
      v.string(),
      v.check((text) => isUrl(text, ['http:', 'https:']), 'an http:// or https:// URL without credentials'),
    ),
    to,
  }),
  v.strictObject({
    kind: v.literal('mcp'),
    command: v.pipe(
      v.array(
        v.pipe(
          v.string(),
          v.check((text) => text !== '' && !text.includes('\0'), 'a program or an argument'),
        ),
      ),
      v.minLength(1, 'a program and its arguments'),
    ),
    to,
  }),
  v.strictObject({ kind: v.literal('files'), directory, to }),
]);

const serviceName = v.pipe(
  v.string(),
  v.regex(
    /^[a-z0-9][a-z0-9._-]{0,31}$/,
    'a service name: 1 to 32 of a-z, 0-9, ".", "_", "-", the first a letter or digit',
  ),
);

export const settingsSchema = v.strictObject({
  name: v.optional(name),
  relays: v.optional(v.pipe(v.array(relay), v.maxLength(MAX_RELAYS, `at most ${MAX_RELAYS} relays`)), []),
  lan: v.optional(v.boolean(), true),
  iceServers: v.optional(v.array(iceServer), []),
  policy: v.optional(policy, {}),
  inbox: v.optional(
    v.strictObject({
      directory: v.optional(directory),
      maxBytes: v.optional(
        v.pipe(
          v.number(),
          v.check((bytes) => Number.isSafeInteger(bytes) && bytes > 0, 'a whole number of bytes above 0'),
        ),
        DEFAULT_INBOX_BYTES,
      ),
    }),
    {},
  ),
  services: v.optional(v.record(serviceName, service), {}),
  log: v.optional(v.strictObject({ level: v.optional(v.picklist(['debug', 'info', 'warn', 'error']), 'info') }), {}),
});

type DeepReadonly<T> = T extends object ? { readonly [Key in keyof T]: DeepReadonly<T[Key]> } : T;
type CheckedSettings = DeepReadonly<v.InferOutput<typeof settingsSchema>>;

export type Service = CheckedSettings['services'][string];

/** What a node runs with: every default filled in, deeply frozen. */
export type Settings = Omit<CheckedSettings, 'name' | 'inbox'> & {
  readonly name: string;
  readonly inbox: { readonly directory: string; readonly maxBytes: number };
};

export const settingsKeys: readonly string[] = Object.keys(settingsSchema.entries);

function isUrl(text: string, protocols: readonly string[]): boolean {
  const url = URL.parse(text);
  return url !== null && protocols.includes(url.protocol) && url.username === '' && url.password === '';
}

function isHostPort(text: string): boolean {
  const match = /^(?:\[([^\]]{2,45})\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}))?:(\d{1,5})$/.exec(text);
  if (!match || text.startsWith(':')) return false;
  const port = Number(match[2]);
  return port >= 1 && port <= 65_535 && (match[1] === undefined || isIPv6(match[1]));
}
