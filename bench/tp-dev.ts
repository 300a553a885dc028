import { measureThroughput } from './throughput.ts';

const size = Number(process.argv[2] ?? 16384),
  n = Number(process.argv[3] ?? 3);
for (let i = 0; i < n; i++) {
  const r = await measureThroughput((process.argv[4] ?? 'own') as 'own', size);
  console.log(size, r.mbPerS.toFixed(0), 'MB/s', r.cpuSPerGb.toFixed(2), 's/GB');
}
process.exit(0);
