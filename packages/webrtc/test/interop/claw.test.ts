import { claw } from './kinds.ts';
import { describeMatrix } from './matrix.ts';

describeMatrix(claw);
