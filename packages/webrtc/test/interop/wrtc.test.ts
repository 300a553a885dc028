import { wrtc } from './kinds.ts';
import { describeMatrix } from './matrix.ts';

describeMatrix(wrtc);
