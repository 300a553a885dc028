/**
 * What a run of the lab leaves: one record a cell, a cell being a scenario with
 * a contestant. `--json` writes it, `bench/results/` keeps it, the page draws it.
 */

import type { ScenarioGroup } from '@claw/scenarios';
import type { PathFacts } from './contestants/contract.ts';

export const RESULTS_FORMAT = 1;

export interface LabResults {
  readonly format: typeof RESULTS_FORMAT;
  /** ISO 8601, when the run began. */
  readonly date: string;
  readonly seed: number;
  readonly repeat: number;
  readonly machine: { readonly kernel: string; readonly cores: number; readonly node: string };
  /** The project's own commit. */
  readonly commit: string;
  readonly contestants: readonly ContestantFacts[];
  readonly scenarios: readonly ScenarioFacts[];
  /** Access kinds in the order of the matrix. */
  readonly accesses: readonly { readonly name: string; readonly label: string; readonly about: string }[];
  readonly cells: readonly CellResult[];
}

export interface ContestantFacts {
  readonly name: string;
  readonly about: string;
  readonly version: string;
}

export interface ScenarioFacts {
  readonly name: string;
  readonly group: ScenarioGroup;
  readonly about: string;
  readonly cell?: { readonly row: string; readonly column: string };
  /** What is marked on a timeline, milliseconds after the measurement began. */
  readonly marks: readonly { readonly atMs: number; readonly label: string }[];
}

export type CellOutcome =
  | 'connected'
  /** It tried, and said or showed that it could not. */
  | 'failed'
  /** The lab could not run it: `reason` says what was missing. */
  | 'skipped';

export interface CellResult {
  readonly scenario: string;
  readonly contestant: string;
  /** 0 to `repeat` − 1. */
  readonly round: number;
  readonly seed: number;
  readonly outcome: CellOutcome;
  /** In the contestant's own words, or the lab's for `skipped`. */
  readonly reason?: string;
  readonly path?: PathFacts;
  readonly pathAfter?: PathFacts;
  /** From both being told to open until both are connected. */
  readonly connectMs?: number;
  /** IP packets that a and b sent until then. */
  readonly connectPackets?: number;
  readonly roundTrip?: RoundTrip;
  readonly bulk?: BulkResult;
  readonly watch?: WatchResult;
  /** CPU time of both peers from opening to the end. */
  readonly cpuMs?: number;
}

export interface RoundTrip {
  readonly minMs: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly lost: number;
  readonly count: number;
}

export interface BulkResult {
  readonly megabitsPerSecond: number;
  readonly stallMs: number;
  /** CPU seconds for 10^9 payload bytes, both ends. */
  readonly cpuSecondsPerGb?: number;
  readonly bucketMs: number;
  /** Megabits a second in each bucket. */
  readonly rate: readonly number[];
  /** One-way delay of the messages that ended in each bucket, milliseconds; null where none did. */
  readonly delay: readonly (number | null)[];
}

export interface WatchResult {
  /** How long was watched. */
  readonly durationMs: number;
  readonly longestGapMs: number;
  readonly sent: number;
  readonly received: number;
  readonly bucketMs: number;
  /** Ends with the last message that arrived. */
  readonly delay: readonly (number | null)[];
}
