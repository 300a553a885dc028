/**
 * Asks the local network for the addresses behind the names of browsers (RFC 6762 §5.2). Browsers answer to the group
 * and to no one alone, so that the questions go out from its port and the answers are heard there. There is one
 * question for a name at a time, whoever wants it; the link is open while there are questions, and no longer.
 */

import type { Clock, Timer } from '@claw/base';
import { isGeneratedName } from './generated-name.ts';
import { encodeMdnsQuestion, RECORD, readMdnsAnswers } from './mdns-message.ts';

export interface MdnsLink {
  /** To the group, on all interfaces. What cannot leave is lost. */
  send(packet: Buffer): void;
  close(): void;
}

export interface MdnsResolverOptions {
  readonly clock: Clock;
  /** `onPacket`: what came from a neighbour; `onReady`: packets leave from now on. */
  openLink(onPacket: (packet: Buffer) => void, onReady: () => void): MdnsLink;
}

interface Question {
  readonly waiting: Set<(addresses: readonly string[]) => void>;
  timers: Timer[];
}

/** The second at least one second after the first (RFC 6762 §5.2); multicast over Wi-Fi is not repeated when it is lost. */
const ASK_AT_MS = [0, 1000, 3000];
const GIVE_UP_MS = 5000;
const MAX_QUESTIONS = 64;

export class MdnsResolver {
  readonly #options: MdnsResolverOptions;
  readonly #questions = new Map<string, Question>();
  #link: MdnsLink | undefined;
  #isReady = false;

  constructor(options: MdnsResolverOptions) {
    this.#options = options;
  }

  /** None when nobody answers in time, when there are too many questions, and for names that browsers do not make. */
  resolve(name: string, signal: AbortSignal): Promise<readonly string[]> {
    return new Promise((resolve) => {
      if (!isGeneratedName(name) || signal.aborted) return resolve([]);
      const question = this.#questions.get(name) ?? this.#begin(name);
      if (!question) return resolve([]);
      const finish = (addresses: readonly string[]) => {
        signal.removeEventListener('abort', abandon);
        resolve(addresses);
      };
      const abandon = () => {
        question.waiting.delete(finish);
        resolve([]);
        if (question.waiting.size === 0) this.#end(name, []);
      };
      question.waiting.add(finish);
      signal.addEventListener('abort', abandon, { once: true });
    });
  }

  #begin(name: string): Question | undefined {
    if (this.#questions.size >= MAX_QUESTIONS) return undefined;
    const question: Question = { waiting: new Set(), timers: [] };
    this.#questions.set(name, question);
    if (this.#isReady) this.#schedule(name, question);
    this.#link ??= this.#options.openLink(
      (packet) => this.#hear(packet),
      () => {
        this.#isReady = true;
        for (const [each, waiting] of this.#questions) this.#schedule(each, waiting);
      },
    );
    // Also when the link never gets ready.
    question.timers.push(this.#options.clock.setTimer(GIVE_UP_MS, () => this.#end(name, [])));
    return question;
  }

  #schedule(name: string, question: Question): void {
    for (const atMs of ASK_AT_MS) question.timers.push(this.#options.clock.setTimer(atMs, () => this.#ask(name)));
  }

  /** Both families by themselves: Chromium reads one question of a packet, Firefox answers to the first kind only. */
  #ask(name: string): void {
    for (const type of [RECORD.a, RECORD.aaaa]) this.#link?.send(encodeMdnsQuestion(name, type));
  }

  #hear(packet: Buffer): void {
    const answers = readMdnsAnswers(packet);
    for (const name of new Set(answers.map((answer) => answer.name))) {
      this.#end(
        name,
        answers.flatMap((answer) => (answer.name === name ? answer.address : [])),
      );
    }
  }

  #end(name: string, addresses: readonly string[]): void {
    const question = this.#questions.get(name);
    if (!question) return;
    this.#questions.delete(name);
    for (const timer of question.timers) timer.cancel();
    for (const finish of question.waiting) finish(addresses);
    if (this.#questions.size > 0) return;
    this.#link?.close();
    this.#link = undefined;
    this.#isReady = false;
  }
}
