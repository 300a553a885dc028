/**
 * The invites that this node gave out, in `invites.json`, so that a restart
 * forgets none. An invite admits one node: whoever used it may repeat its request
 * (its answer may have been lost), anyone else is refused.
 */

import { join } from 'node:path';
import { type Clock, equalBytes, errorText, readFileIfPresent, writeFileAtomic } from '@claw/base';
import type { NodeId } from '@claw/contracts';
import * as v from 'valibot';
import { linkError } from '../errors.ts';
import { inviteIdOf } from './invite.ts';

const entrySchema = v.strictObject({
  secret: v.pipe(v.string(), v.base64()),
  expiresAtMs: v.number(),
  /** Our name for whoever uses it, when the user chose one. */
  name: v.optional(v.string()),
  usedBy: v.optional(v.string()),
});
const fileSchema = v.strictObject({ version: v.literal(1), invites: v.array(entrySchema) });
type Entry = v.InferOutput<typeof entrySchema>;

/** Invites open at once; a person makes few. */
const MAX_INVITES = 64;

export class InviteBook {
  readonly #path: string;
  readonly #clock: Clock;
  #entries: Entry[];
  #writing: Promise<void> = Promise.resolve();

  private constructor(path: string, clock: Clock, entries: Entry[]) {
    this.#path = path;
    this.#clock = clock;
    this.#entries = entries;
  }

  /** A file that cannot be read costs open invites only: it is set aside by the next write. */
  static async open(home: string, clock: Clock, onBroken: (detail: string) => void): Promise<InviteBook> {
    const path = join(home, 'invites.json');
    const content = await readFileIfPresent(path);
    let entries: Entry[] = [];
    try {
      if (content) entries = v.parse(fileSchema, JSON.parse(content.toString('utf8'))).invites;
    } catch (error) {
      onBroken(errorText(error));
    }
    return new InviteBook(path, clock, entries);
  }

  async add(secret: Uint8Array, expiresAtMs: number, name?: string): Promise<void> {
    await this.#change((entries) => [
      ...entries.slice(-(MAX_INVITES - 1)),
      { secret: Buffer.from(secret).toString('base64'), expiresAtMs, ...(name !== undefined && { name }) },
    ]);
  }

  /**
   * The secret and the chosen name behind `inviteId`, for a request by `joiner`.
   * @throws ClawError `PAIR_INVITE_UNKNOWN`, `PAIR_INVITE_EXPIRED` or `PAIR_INVITE_USED`.
   */
  look(inviteId: Uint8Array, joiner: NodeId): { secret: Buffer; name: string | undefined } {
    for (const entry of this.#entries) {
      const secret = Buffer.from(entry.secret, 'base64');
      if (!equalBytes(inviteIdOf(secret), inviteId)) continue;
      if (this.#clock.now() >= entry.expiresAtMs) throw linkError('PAIR_INVITE_EXPIRED', 'this invite has expired');
      checkUnused(entry, joiner);
      return { secret, name: entry.name };
    }
    throw unknown();
  }

  /**
   * Marks the invite of `secret` as used, durably. Of several at once the first wins.
   * @throws ClawError `PAIR_INVITE_USED`, or `PAIR_INVITE_UNKNOWN` when it was forgotten meanwhile.
   */
  async use(secret: Uint8Array, joiner: NodeId): Promise<void> {
    const text = Buffer.from(secret).toString('base64');
    await this.#change((entries) => {
      const entry = entries.find(({ secret: known }) => known === text);
      if (!entry) throw unknown();
      checkUnused(entry, joiner);
      return entries.map((each) => (each === entry ? { ...each, usedBy: joiner } : each));
    });
  }

  /** Forgets the invites that `joiner` used, durably. */
  async forget(joiner: NodeId): Promise<void> {
    if (!this.#entries.some(({ usedBy }) => usedBy === joiner)) return;
    await this.#change((entries) => entries.filter(({ usedBy }) => usedBy !== joiner));
  }

  #change(apply: (entries: Entry[]) => Entry[]): Promise<void> {
    const done = this.#writing.then(async () => {
      // An expired invite is remembered for an hour, so that its user hears "expired" and not "unknown".
      const remembered = this.#entries.filter((entry) => this.#clock.now() < entry.expiresAtMs + 3_600_000);
      const entries = apply(remembered);
      await writeFileAtomic(this.#path, `${JSON.stringify({ version: 1, invites: entries }, null, 2)}\n`);
      this.#entries = entries;
    });
    this.#writing = done.catch(() => {});
    return done;
  }
}

function checkUnused(entry: Entry, joiner: NodeId): void {
  if (entry.usedBy === undefined || entry.usedBy === joiner) return;
  throw linkError('PAIR_INVITE_USED', 'this invite was used by another machine');
}

function unknown() {
  return linkError('PAIR_INVITE_UNKNOWN', 'this node knows no such invite');
}
