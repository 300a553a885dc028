import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { isProcessAlive } from '@claw/base';
import { afterEach, expect, test } from 'vitest';
import { ContestantProcess, harnessCommand, type SpawnContestant } from '../src/contestants/contestant-process.ts';
import { LineReader } from '../src/contestants/line-reader.ts';

const plainly: SpawnContestant = ([program, ...args], options) => spawn(program, args, options);
const opened: ContestantProcess[] = [];

afterEach(async () => {
  await Promise.all(opened.splice(0).map((one) => one.close()));
});

function start(script: string): ContestantProcess {
  const one = new ContestantProcess({ label: 'odd a', spawn: plainly, command: [process.execPath, '-e', script] });
  opened.push(one);
  return one;
}

test('a process that prints garbage is ended, and the error shows the line', async () => {
  const one = start('console.log("hello from a library"); setInterval(() => {}, 1000)');
  await expect(one.expect('ready', 5000)).rejects.toMatchObject({
    code: 'CONTESTANT_GARBLED',
    message: 'odd a wrote what is no event: hello from a library',
  });
  await one.close();
  expect(isProcessAlive(one.pid!)).toBe(false);
});

test('a process that writes a line without end is ended', async () => {
  const one = start('const more = () => process.stdout.write("x".repeat(65536), more); more()');
  await expect(one.expect('ready', 10_000)).rejects.toMatchObject({ code: 'CONTESTANT_GARBLED' });
});

test('a process that exits says how and its last words', async () => {
  const one = start('console.error("no such library"); process.exitCode = 3');
  await expect(one.expect('ready', 5000)).rejects.toMatchObject({
    code: 'CONTESTANT_ENDED',
    message: 'odd a ended with code 3; last on stderr: no such library',
  });
});

test('a process that aborts says the signal', async () => {
  const one = start('process.abort()');
  await expect(one.expect('ready', 5000)).rejects.toThrow(/was ended by SIGABRT/);
});

test('a process that cannot be started says why', async () => {
  const one = new ContestantProcess({ label: 'odd a', spawn: plainly, command: ['/nowhere/at-all'] });
  await expect(one.expect('ready', 5000)).rejects.toMatchObject({ code: 'CONTESTANT_ENDED' });
  await one.close();
});

test('a process that hangs is silent after the limit and gone after the close', async () => {
  const one = start('process.on("SIGTERM", () => {}); process.stdin.resume(); setInterval(() => {}, 1000)');
  await expect(one.expect('ready', 200)).rejects.toMatchObject({ code: 'CONTESTANT_SILENT' });
  await one.close();
  expect(isProcessAlive(one.pid!)).toBe(false);
});

test('a process that fails after it connected tells its reason to who measures', async () => {
  const one = start(`
    const say = (event) => console.log(JSON.stringify(event));
    say({ event: 'closed', atMs: 1, reason: 'libfoo: assertion failed' });
    process.stdin.once('data', () => process.exit(1));
  `);
  await one.expect('closed', 5000);
  await expect(one.measure({ pings: 1, bulkMs: 0, watchMs: 0 })).rejects.toThrow(
    'odd a ended with code 1: libfoo: assertion failed',
  );
});

test('the harness ends with code 2 at a line that is no command', async () => {
  const child = spawn(harnessCommand('tls')[0], harnessCommand('tls').slice(1), { stdio: ['pipe', 'ignore', 'pipe'] });
  let words = '';
  child.stderr.on('data', (chunk: Buffer) => {
    words += chunk.toString();
  });
  child.stdin.write('{"do":"open","services":{}}\n');
  const code = await new Promise((resolve) => child.once('close', resolve));
  expect([code, words]).toEqual([2, 'harness: not a command: {"do":"open","services":{}}\n']);
});

test('the harness without a name ends with code 2', async () => {
  const harness = fileURLToPath(new URL('../src/contestants/harness.ts', import.meta.url));
  const child = spawn(process.execPath, [harness], { stdio: 'ignore' });
  expect(await new Promise((resolve) => child.once('close', resolve))).toBe(2);
});

test('a line reader joins pieces, drops empty lines and stops at the limit', () => {
  const lines: string[] = [];
  let tooLong = 0;
  const reader = new LineReader(
    (line) => lines.push(line),
    () => {
      tooLong += 1;
    },
    10,
  );
  const bytes = Buffer.from('eins\n\nzwölf\nx');
  for (const byte of bytes) reader.push(Buffer.from([byte]));
  reader.push(Buffer.from('yz\n'));
  reader.push(Buffer.from('0123456789a'));
  reader.push(Buffer.from('\nmore\n'));
  expect(lines).toEqual(['eins', 'zwölf', 'xyz']);
  expect(tooLong).toBe(1);
});
