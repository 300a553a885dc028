import { nodeDataChannel } from './kinds.ts';
import { describeMatrix } from './matrix.ts';

describeMatrix(nodeDataChannel);
