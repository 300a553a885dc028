import { spawnSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';

const script = `
import { confine } from ${JSON.stringify(new URL('../src/confine.ts', import.meta.url).href)};
import { connect } from 'node:net';
import { createSocket } from 'node:dgram';
import { spawn } from 'node:child_process';
const confinement = confine();
const outcome = (emitter) => new Promise((resolve) => emitter.once('error', (error) => resolve(error.code)));
const tcp = await outcome(connect(9, '127.0.0.1'));
const udp = await new Promise((resolve) => {
  const socket = createSocket('udp4');
  socket.once('error', (error) => resolve(error.code));
  socket.bind(0, '127.0.0.1', () => resolve('bound'));
});
let program;
try { program = await outcome(spawn('/bin/true')); } catch (error) { program = error.code; }
console.log(JSON.stringify({ ...confinement, tcp, udp, program }));
process.exit(0);
`;

describe.skipIf(process.platform !== 'linux')('confine', () => {
  test('takes sockets and programs away from the process that calls it', () => {
    const run = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      encoding: 'utf8',
      timeout: 15_000,
    });
    expect(run.stderr).toBe('');
    const seen = JSON.parse(run.stdout);
    expect(seen).toMatchObject({ seccomp: true, undumpable: true, tcp: 'EPERM', udp: 'EPERM' });
    expect(seen.program).toMatch(/^(?:EPERM|EACCES)$/);
  });
});
