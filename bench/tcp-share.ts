/** A TCP share beside plain TCP and `ssh -L`, all on loopback: connect, round trip, throughput. */

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { median, percentile } from '@claw/testkit/statistics';
import { Nodes } from './nodes.ts';
import { openSshForward } from './ssh.ts';
import { ms, printTable } from './statistics.ts';

const ROUNDS = 5;
const BYTES = 128 * 1024 * 1024;
const ROUND_TRIPS = 500;
const CONNECTS = 20;

/** First byte of a connection: what the server shall do. */
const ECHO = 1;
const FLOOD = 2;

if (process.argv[2] === 'server') serve();

/** Echoes, or sends BYTES. */
function serve(): void {
  const chunk = Buffer.alloc(64 * 1024, 0x5a);
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => {});
    socket.once('data', (first) => {
      if (first[0] === FLOOD) return flood(socket, chunk);
      socket.write(first);
      socket.on('data', (data) => socket.write(data));
    });
  });
  server.listen(0, '127.0.0.1', () => process.send?.((server.address() as { port: number }).port));
  process.on('disconnect', () => process.exit(0));
}

function flood(socket: Socket, chunk: Buffer): void {
  let left = BYTES;
  const pump = () => {
    while (left > 0) {
      left -= chunk.length;
      if (!socket.write(chunk)) return void socket.once('drain', pump);
    }
    socket.end();
  };
  pump();
}

interface Samples {
  readonly name: string;
  readonly port: number;
  readonly connectMs: number[];
  readonly roundTripMs: number[];
  readonly mbPerS: number[];
}

export async function benchTcpShare(): Promise<void> {
  const server = fork(fileURLToPath(import.meta.url), ['server']);
  const [port] = (await once(server, 'message')) as [number];
  await using nodes = await Nodes.open();
  await nodes.pair();
  await nodes.claw('a', ['share', 'bench', '--tcp', `127.0.0.1:${port}`, '--to', 'b']);
  const share = await nodes.claw<{ port: number }>('b', ['use', 'a/bench']);
  using ssh = await openSshForward(port);
  const contestant = (name: string, at: number): Samples => ({
    name,
    port: at,
    connectMs: [],
    roundTripMs: [],
    mbPerS: [],
  });
  const contestants = [contestant('plain TCP', port), contestant('claw share', share.port)];
  if (ssh) contestants.push(contestant(`ssh -L, ${ssh.version}`, ssh.port));
  else console.log('ssh -L is left out: no sshd on this machine (Debian: openssh-server)');
  for (let round = 0; round < ROUNDS; round += 1) for (const each of contestants) await measure(each);
  server.disconnect();
  printTable(`TCP over loopback, ${ROUNDS} rounds in turn, medians`, [
    ['', 'connect + first echo', 'round trip 64 B p50', 'p99', '128 MiB down'],
    ...contestants.map(({ name, connectMs, roundTripMs, mbPerS }) => [
      name,
      ms(median(connectMs)),
      ms(median(roundTripMs)),
      ms(percentile(roundTripMs, 0.99)),
      `${median(mbPerS).toFixed(0)} MB/s`,
    ]),
  ]);
}

async function measure({ port, connectMs, roundTripMs, mbPerS }: Samples): Promise<void> {
  for (let count = 0; count < CONNECTS; count += 1) {
    const started = performance.now();
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    socket.write(Buffer.from([ECHO]));
    await once(socket, 'data');
    connectMs.push(performance.now() - started);
    socket.destroy();
  }
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  socket.write(Buffer.from([ECHO]));
  await once(socket, 'data');
  const message = Buffer.alloc(64, 7);
  for (let count = 0; count < ROUND_TRIPS; count += 1) {
    const started = performance.now();
    socket.write(message);
    await once(socket, 'data');
    roundTripMs.push(performance.now() - started);
  }
  socket.destroy();
  mbPerS.push(await download(port));
}

async function download(port: number): Promise<number> {
  const socket = connect({ port, host: '127.0.0.1' });
  socket.write(Buffer.from([FLOOD]));
  let received = 0;
  let started = 0;
  socket.on('data', (data) => {
    started ||= performance.now();
    received += data.length;
  });
  await once(socket, 'end');
  if (received !== BYTES) throw new Error(`${received} of ${BYTES} bytes came`);
  return BYTES / 1e6 / ((performance.now() - started) / 1000);
}
