/** What netd becomes when the process that owned a lab died: takes away what it left. */

import { sweepOrphans } from './run-record.ts';

sweepOrphans();
