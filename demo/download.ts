/** Downloads argv[2] and reports on stdout, a JSON line at a time: progress, then size, time and hash. */

import { createHash } from 'node:crypto';

const REPORT_MS = 150;

const response = await fetch(process.argv[2] ?? '');
if (!response.ok || !response.body) throw new Error(`HTTP status ${response.status}`);
const total = Number(response.headers.get('content-length'));
const hash = createHash('sha256');
const started = performance.now();
let done = 0;
let reported = 0;
for await (const chunk of response.body) {
  hash.update(chunk);
  done += chunk.length;
  if (performance.now() - reported > REPORT_MS) {
    reported = performance.now();
    console.log(JSON.stringify({ done, total }));
  }
}
console.log(JSON.stringify({ done, total, ms: performance.now() - started, sha256: hash.digest('hex') }));
