/** What the exit status of `claw` means; docs/cli.md has the same table. */

export const EXIT = {
  ok: 0,
  /** The operation failed; the message says why. */
  failed: 1,
  /** The command line was wrong. */
  usage: 2,
  /** The node does not run and could not be started. */
  notRunning: 3,
  /** A peer, share or invite of that name is not known. */
  notFound: 4,
  /** The peer, or a policy, said no. */
  refused: 5,
  /** No answer in time, or no way to the peer. */
  unreachable: 6,
  /** A file, an invite or a setting cannot be used as it is. */
  invalid: 7,
  interrupted: 130,
} as const;

/** By the first pattern that an error's code matches. */
const BY_CODE: readonly [RegExp, number][] = [
  [/^INTERRUPTED$/, EXIT.interrupted],
  [/^(?:USAGE|REQUEST_INVALID)$/, EXIT.usage],
  [/^(?:GATEWAY_(?:UNREACHABLE|CLOSING)|NODE_NOT_STARTED)$/, EXIT.notRunning],
  [
    /^(?:PEER_(?:UNKNOWN|AMBIGUOUS)|SERVICE_UNKNOWN|STREAM_UNKNOWN_SERVICE|FORWARD_UNKNOWN|PAIR_INVITE_UNKNOWN)$/,
    EXIT.notFound,
  ],
  [
    /^(?:STREAM_(?:NOT_GRANTED|REFUSED)|PAIR_(?:REFUSED|INVITE_USED)|LINK_(?:IDENTITY|INTEGRITY|VERSION|UNPAIRED)|AUTH_)/,
    EXIT.refused,
  ],
  [
    /^(?:PAIR_TIMEOUT|GATEWAY_TIMEOUT|CATALOG_TIMEOUT|LINK_|STREAM_TARGET_FAILED|ETIMEDOUT|ECONNREFUSED)/,
    EXIT.unreachable,
  ],
  [/^(?:PAIR_INVITE_|SETTINGS_|KEY_|PEERS_FILE|SERVICE_|SEND_(?:FILE|NOT)|HAND_TEXT|RELAY_URL|WIRE_)/, EXIT.invalid],
];

export function exitCodeOf(code: string): number {
  return BY_CODE.find(([pattern]) => pattern.test(code))?.[1] ?? EXIT.failed;
}
