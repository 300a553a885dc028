/** Runs planned cells: those that mostly wait side by side, then those that keep the machine busy one by one. */

import { isLight, type PlannedCell } from './plan.ts';
import type { CellOutput, RunCellOptions } from './run-cell.ts';
import { runCell } from './run-cell.ts';

export interface RunPlanOptions extends RunCellOptions {
  /** Light cells at once. */
  readonly jobs: number;
  /** Called as each is done. */
  readonly onCell: (output: CellOutput, cell: PlannedCell) => void;
}

export async function runPlan(cells: readonly PlannedCell[], options: RunPlanOptions): Promise<CellOutput[]> {
  const outputs: CellOutput[] = [];
  const work = async (queue: PlannedCell[]) => {
    for (let cell = queue.shift(); cell; cell = queue.shift()) {
      options.signal?.throwIfAborted();
      const output = await runCell(cell, options);
      outputs.push(output);
      options.onCell(output, cell);
    }
  };
  const light = cells.filter(isLight);
  await Promise.all(Array.from({ length: options.jobs }, () => work(light)));
  await work(cells.filter((cell) => !isLight(cell)));
  return outputs;
}
