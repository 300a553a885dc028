/** The command line of `npm run lab`. */

import { parseArgs } from 'node:util';
import { labRunError } from './errors.ts';

export interface LabOptions {
  readonly mode: 'canary' | 'all' | 'chosen' | 'selftest' | 'list' | 'help';
  readonly scenarios: readonly string[];
  readonly contestants: readonly string[];
  readonly seed: number;
  readonly repeat: number;
  /** Cells at once; those that keep the machine busy run alone. */
  readonly jobs: number;
  readonly json?: string;
  readonly html?: string;
  readonly capture?: string;
}

export const USAGE = `npm run lab -- [options]

Without options: a canary of at most three minutes, with what it expects.

  --all                 every scenario with every contestant
  --scenario NAME       a scenario, a group (nat, ladder, switch, faults) or a FILE.json; may be repeated
  --contestant NAME     may be repeated; default: all
  --seed N              default 1
  --repeat N            rounds of each cell, default 1
  --jobs N              cells at once, but for those that keep the machine busy; default 4
  --json FILE           the results
  --html FILE           the results as a page
  --capture DIR         a capture of every host of every cell
  --selftest            is the lab right: NATs classified, links measured, simnet compared
  --list                scenarios and contestants
  --help                this

Exit codes: 0 all as expected, 1 the canary or the self-test found something else, 2 a wrong command line,
3 this machine cannot run the lab (the reason is printed).`;

export function parseLabOptions(args: readonly string[]): LabOptions {
  const { values } = parse(args);
  const chosen = values.scenario !== undefined || values.contestant !== undefined;
  const asked = (['help', 'list', 'selftest', 'all'] as const).filter((mode) => values[mode]);
  if (asked.length > 1) throw labRunError('LAB_USAGE', `--${asked[0]} and --${asked[1]} exclude each other.`);
  if (asked[0] === 'all' && values.scenario) throw labRunError('LAB_USAGE', '--all and --scenario exclude each other.');
  return {
    mode: asked[0] ?? (chosen ? 'chosen' : 'canary'),
    scenarios: values.scenario ?? [],
    contestants: values.contestant ?? [],
    seed: numberOf('seed', values.seed, 1, 0, 2 ** 32 - 1),
    repeat: numberOf('repeat', values.repeat, 1, 1, 100),
    jobs: numberOf('jobs', values.jobs, 4, 1, 32),
    ...(values.json === undefined ? {} : { json: values.json }),
    ...(values.html === undefined ? {} : { html: values.html }),
    ...(values.capture === undefined ? {} : { capture: values.capture }),
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      strict: true,
      options: {
        all: { type: 'boolean' },
        scenario: { type: 'string', multiple: true },
        contestant: { type: 'string', multiple: true },
        seed: { type: 'string' },
        repeat: { type: 'string' },
        jobs: { type: 'string' },
        json: { type: 'string' },
        html: { type: 'string' },
        capture: { type: 'string' },
        selftest: { type: 'boolean' },
        list: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (cause) {
    throw labRunError('LAB_USAGE', (cause as Error).message, { cause, hint: 'npm run lab -- --help' });
  }
}

function numberOf(name: string, text: string | undefined, standard: number, least: number, most: number): number {
  if (text === undefined) return standard;
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= least && value <= most) return value;
  throw labRunError('LAB_USAGE', `--${name}: expected a whole number from ${least} to ${most}, found "${text}".`);
}
