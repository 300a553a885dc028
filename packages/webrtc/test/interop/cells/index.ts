/** The matrix: what our stack and any other must be able to do with each other. */

import type { Cell, CellName } from '../cell.ts';
import { channelCells } from './channels.ts';
import { closingCells } from './closing.ts';
import { connectionCells } from './connection.ts';
import { messageCells } from './messages.ts';

export const CELLS: Readonly<Record<CellName, Cell>> = {
  ...connectionCells,
  ...channelCells,
  ...messageCells,
  ...closingCells,
};
