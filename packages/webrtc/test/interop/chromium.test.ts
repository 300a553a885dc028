import { chromium, chromiumTrials } from './kinds.ts';
import { describeMatrix } from './matrix.ts';

describeMatrix(chromium);
describeMatrix(chromiumTrials, [
  'open',
  'DTLS 1.2',
  'glare, we are polite',
  'ICE restart by us',
  'ICE restart by them',
]);
