import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { Pair } from './pair.ts';

test('an idle association takes less than 50 KB', () => {
  const count = 300;
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;
  collectGarbage();
  collectGarbage();
  const before = process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers;
  const pairs = Array.from({ length: count / 2 }, (_, at) => {
    const pair = new Pair({ delayMs: 1, seed: at + 1 }).connect();
    const channel = pair.a.open();
    pair.a.send(channel, 'x');
    pair.run(100);
    return pair;
  });
  collectGarbage();
  collectGarbage();
  const used = process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers - before;
  console.log(`an idle association: ${(used / count / 1024).toFixed(1)} KB`);
  expect(pairs).toHaveLength(count / 2);
  expect(used / count).toBeLessThan(50 * 1024);
});
