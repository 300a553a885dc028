/** Where senders wait until a contestant drains. */

export class Gate {
  #waiting: PromiseWithResolvers<void>[] = [];

  wait(): Promise<void> {
    const waiter = Promise.withResolvers<void>();
    this.#waiting.push(waiter);
    return waiter.promise;
  }

  open(): void {
    for (const { resolve } of this.#waiting.splice(0)) resolve();
  }

  fail(reason: string): void {
    for (const { reject } of this.#waiting.splice(0)) reject(new Error(reason));
  }
}
