/** Codes of the errors that this package throws; README.md says when. */
export type IdentityErrorCode =
  | 'KEY_FILE_INVALID'
  | 'KEY_FILE_UNREADABLE'
  | 'KEY_PASSPHRASE_REQUIRED'
  | 'KEY_PASSPHRASE_WRONG'
  | 'KEY_KEYRING_UNAVAILABLE'
  | 'KEY_HOLDER_CLOSED'
  | 'KEY_HOLDER_FAILED'
  | 'PEER_UNKNOWN'
  | 'PEER_AMBIGUOUS'
  | 'PEERS_FILE_INVALID';
