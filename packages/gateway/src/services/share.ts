/** What every kind of share does: serve the streams that peers open on it. */

import type { Logger } from '@claw/base';
import type { LinkStream } from '@claw/link';

export interface ShareContext {
  readonly name: string;
  /** The peer's name here, for logs and for the service behind. */
  readonly peer: string;
  readonly logger: Logger;
}

export interface Share extends AsyncDisposable {
  /**
   * Serves one accepted stream until either side ends it. Rejects when the
   * target cannot be reached; the stream is then refused with that message.
   */
  serve(accept: () => LinkStream, context: ShareContext): Promise<void>;
  /** Ends what it still serves. Idempotent. */
  close(): Promise<void>;
}
