/** The `on…` properties of a W3C event target: each is a listener that can be replaced. */

type Listener = (event: Event) => unknown;

export class EventHandlers {
  readonly #target: EventTarget;
  readonly #handlers = new Map<string, Listener>();

  constructor(target: EventTarget) {
    this.#target = target;
  }

  get<E extends Event>(name: string): ((event: E) => unknown) | null {
    return this.#handlers.get(name) ?? null;
  }

  set<E extends Event>(name: string, handler: ((event: E) => unknown) | null): void {
    const former = this.#handlers.get(name);
    if (former) this.#target.removeEventListener(name, former);
    this.#handlers.delete(name);
    if (typeof handler !== 'function') return;
    this.#handlers.set(name, handler as Listener);
    this.#target.addEventListener(name, handler as Listener);
  }
}
