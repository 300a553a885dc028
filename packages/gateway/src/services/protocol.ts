/** Names under which streams are opened on a link, and what they carry. See docs/protocols/services.md. */

import * as v from 'valibot';

/** `share/NAME`: the bytes of one connection to that share. */
export const SHARE_PREFIX = 'share/';
/** One JSON document: what the asking peer may use here. */
export const CATALOG_SERVICE = 'claw.catalog';
/** One file; see transfer/. */
export const SEND_SERVICE = 'claw.send';

export const SHARE_KINDS = ['tcp', 'http', 'mcp', 'files'] as const;
export type ShareKind = (typeof SHARE_KINDS)[number];

/** What a peer tells of itself: at most this many bytes. */
export const MAX_CATALOG_BYTES = 64 * 1024;

export const catalogSchema = v.object({
  services: v.pipe(
    v.array(v.object({ name: v.pipe(v.string(), v.maxLength(32)), kind: v.picklist(SHARE_KINDS) })),
    v.maxLength(1024),
  ),
});
export type Catalog = v.InferOutput<typeof catalogSchema>;
