/** The two that are compared: node-datachannel as it is, and our own stack. */

import type { Contestant } from '../peers/pair.ts';

export const ENGINES = ['bare', 'own'] as const satisfies readonly Contestant[];
export type Engine = (typeof ENGINES)[number];

export const perEngine = <T>(make: () => T): Record<Engine, T> => ({ bare: make(), own: make() });
