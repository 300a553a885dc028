import { werift } from './kinds.ts';
import { describeMatrix } from './matrix.ts';

describeMatrix(werift);
