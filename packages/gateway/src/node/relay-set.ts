/** Keeps the router on the right relays: the node's own, those of its peers, those of a pairing under way. */

import type { Clock, Logger } from '@claw/base';
import type { KeyHolder } from '@claw/contracts';
import { openRelayCarrier, parseRelayUrl, type Router } from '@claw/signaling';

export class RelaySet {
  readonly #router: Router;
  readonly #keyHolder: KeyHolder;
  readonly #clock: Clock;
  readonly #logger: Logger;
  /** Carrier name by URL. */
  readonly #open = new Map<string, string>();

  constructor(router: Router, keyHolder: KeyHolder, clock: Clock, logger: Logger) {
    this.#router = router;
    this.#keyHolder = keyHolder;
    this.#clock = clock;
    this.#logger = logger;
  }

  /** Opens what is missing and closes what is wanted no longer. URLs that cannot be used are skipped and logged. */
  async use(urls: Iterable<string>): Promise<void> {
    const wanted = new Set([...urls].filter((url) => this.#isUsable(url)));
    for (const url of wanted) this.add(url);
    const unwanted = [...this.#open].filter(([url]) => !wanted.has(url));
    for (const [url] of unwanted) this.#open.delete(url);
    await Promise.all(unwanted.map(([, name]) => this.#router.removeCarrier(name)));
  }

  add(url: string): void {
    if (this.#open.has(url) || !this.#isUsable(url)) return;
    const carrier = this.#router.addCarrier((onEnvelope) =>
      openRelayCarrier({ url, keyHolder: this.#keyHolder, onEnvelope, clock: this.#clock, logger: this.#logger }),
    );
    this.#open.set(url, carrier.name);
  }

  #isUsable(url: string): boolean {
    try {
      parseRelayUrl(url);
      return true;
    } catch {
      this.#logger.warn('relay.url-unusable', { url: url.slice(0, 200) });
      return false;
    }
  }
}
