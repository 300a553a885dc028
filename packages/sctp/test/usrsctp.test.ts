import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock, systemRandom } from '@claw/base';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type DataChannel, DataChannels, SctpAssociation, type SctpOptions } from '../src/index.ts';

const folder = mkdtempSync(join(tmpdir(), 'usrsctp-'));
const program = join(folder, 'peer');
const source = join(import.meta.dirname, 'usrsctp-peer.c');
const build = spawnSync('gcc', ['-O1', '-o', program, source, '-lusrsctp', '-lpthread'], { encoding: 'utf8' });
const isMissing = build.error !== undefined || /usrsctp\.h: No such file|cannot find -lusrsctp/.test(build.stderr);
const now = () => systemClock.monotonicMs();

interface Session {
  readonly association: SctpAssociation;
  readonly channels: DataChannels;
  readonly child: ChildProcess;
  readonly socket: Socket;
  /** Sets the timer anew. */
  readonly settle: () => void;
  readonly stop: () => void;
  peerOutput: string;
  /** Share of packets dropped either way. */
  loss: number;
  error: unknown;
}

const sessions: Session[] = [];

async function openSession(options: Partial<SctpOptions>, isInterleaved: boolean, loss = 0): Promise<Session> {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const placeholder = createSocket('udp4');
  placeholder.bind(0, '127.0.0.1');
  await once(placeholder, 'listening');
  const { port } = placeholder.address();
  placeholder.close();
  await once(placeholder, 'close');
  const child = spawn(program, [String(port), String(socket.address().port), isInterleaved ? '1' : '0'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const association = new SctpAssociation({
    ...options,
    random: systemRandom,
    send: (packet) => {
      if (systemRandom.fraction() >= session.loss) socket.send(Buffer.from(packet), port, '127.0.0.1');
    },
  });
  let timer = systemClock.setTimer(0, () => {});
  const settle = () => {
    timer.cancel();
    const { deadlineMs } = association;
    if (deadlineMs === Number.POSITIVE_INFINITY) return;
    timer = systemClock.setTimer(Math.max(0, deadlineMs - now()), () => {
      association.handleTimeout(now());
      settle();
    });
  };
  socket.on('message', (packet) => {
    if (systemRandom.fraction() < session.loss) return;
    association.receive(packet, now());
    settle();
  });
  const session: Session = {
    association,
    channels: new DataChannels(association, {
      isDtlsClient: true,
      maxSendBytes: 0,
      onState: (_, error) => {
        session.error = error;
      },
    }),
    child,
    socket,
    loss,
    peerOutput: '',
    error: undefined,
    settle,
    stop: () => timer.cancel(),
  };
  sessions.push(session);
  child.stdout?.on('data', (text: Buffer) => {
    session.peerOutput += text.toString();
  });
  await once(child.stdout, 'data');
  association.connect(now());
  settle();
  await until(() => association.state === 'connected');
  return session;
}

/** Looks again whenever something has happened. */
async function until(isDone: () => boolean, withinMs = 18_000): Promise<void> {
  const endMs = now() + withinMs;
  while (!isDone()) {
    if (now() > endMs) throw new Error('it did not happen in time');
    await pause(2);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    systemClock.setTimer(ms, resolve);
  });
}

function listen(channel: DataChannel): Buffer[] {
  const messages: Buffer[] = [];
  channel.onMessage = (data) => messages.push(data);
  return messages;
}

function drive(session: Session): void {
  session.association.flush(now());
  session.settle();
}

afterEach(() => {
  for (const session of sessions.splice(0)) {
    session.stop();
    session.child.stdin?.end();
    session.socket.close();
  }
});
beforeAll(() => {
  if (!isMissing && build.status !== 0) throw new Error(build.stderr);
});
afterAll(() => rmSync(folder, { recursive: true }));

describe.skipIf(isMissing).each([
  ['DATA', false],
  ['I-DATA', true],
])('usrsctp as peer, with %s', (_, isInterleaved) => {
  test('opens a channel and echoes messages of all sizes, through loss', async () => {
    const session = await openSession({}, isInterleaved, 0.02);
    const channel = session.channels.open({ label: 'interop' }, now());
    const unordered = session.channels.open({ label: 'unordered', isOrdered: false }, now());
    const echoes = listen(channel);
    const others = listen(unordered);
    drive(session);
    await until(() => channel.isAcknowledged && unordered.isAcknowledged);
    const sizes = [1, 3, 100, 1200, 5000, 16_384, 100_000, 250_000];
    for (const size of sizes) {
      channel.send(Buffer.alloc(size, size), now());
      unordered.send(Buffer.alloc(size, size), now());
    }
    channel.send('text comes back too', now());
    drive(session);
    await until(() => echoes.length === sizes.length + 1 && others.length === sizes.length);
    expect(echoes.slice(0, -1).map(({ length }) => length)).toEqual(sizes);
    expect(others.map(({ length }) => length).toSorted((a, b) => a - b)).toEqual(sizes);
    expect(echoes.at(-1)!.toString()).toBe('text comes back too');
    expect(echoes[7]!.equals(Buffer.alloc(250_000, 250_000))).toBe(true);
    // What usrsctp says it has agreed on (1 is PR-SCTP, 4 stream reset, 6 interleaving).
    await until(() => session.peerOutput.includes('state'));
    const features = /state 1( \d+)*/.exec(session.peerOutput)?.[0].split(' ').slice(2) ?? [];
    expect(features).toEqual(expect.arrayContaining(['1', '4']));
    expect(features.includes('6')).toBe(isInterleaved);
  });

  test('sends a message of 200 KB, and messages of limited reliability through loss', async () => {
    const session = await openSession({}, isInterleaved);
    const channel = session.channels.open({ label: 'c' }, now());
    const messages = listen(channel);
    channel.send('big 200000', now());
    drive(session);
    await until(() => messages.length === 1);
    expect(messages[0]!.every((byte, at) => byte === ((at * 7) & 255))).toBe(true);
    messages.length = 0;
    session.loss = 0.1;
    channel.send('burst 300 100', now());
    channel.send('still in step', now());
    drive(session);
    await until(() => messages.at(-1)?.toString() === 'still in step');
    const numbers = messages.slice(0, -1).map((data) => data.readUInt32LE(0));
    expect(numbers.length).toBeGreaterThan(200);
    expect(numbers.length).toBeLessThan(300);
    expect(numbers).toEqual(numbers.toSorted((x, y) => x - y));
  });

  test('takes our limited reliability, and stays in step', async () => {
    const session = await openSession({}, isInterleaved, 0.1);
    const channel = session.channels.open({ label: 'pr', maxRetransmits: 0 }, now());
    const messages = listen(channel);
    drive(session);
    for (let sent = 0; sent < 200; sent++) {
      channel.send(Buffer.alloc(sent % 10 === 0 ? 3000 : 50, sent), now());
      drive(session);
      if (sent % 5 === 0) await pause(2);
    }
    session.loss = 0;
    const last = session.channels.open({ label: 'reliable' }, now());
    const echoes = listen(last);
    last.send(Buffer.from('end'), now());
    drive(session);
    await until(() => echoes.length === 1);
    expect(messages.length).toBeGreaterThan(50);
    expect(messages.map((data) => data[0])).toEqual(messages.map((data) => data[0]!).toSorted((a, b) => a - b));
    expect(session.association.state).toBe('connected');
  });

  test('resets streams from either end, and the id serves again', async () => {
    const session = await openSession({}, isInterleaved);
    for (const closer of ['we', 'they']) {
      const channel = session.channels.open({ label: closer, id: 4 }, now());
      const other = session.channels.open({ label: 'other', id: 6 }, now());
      const echoes = listen(channel);
      drive(session);
      await until(() => channel.isAcknowledged);
      channel.send(Buffer.from('hello'), now());
      drive(session);
      await until(() => echoes.length === 1);
      if (closer === 'we') channel.close(now());
      else other.send('reset 4', now());
      drive(session);
      await until(() => channel.state === 'closed');
      other.close(now());
      drive(session);
      await until(() => other.state === 'closed');
    }
  });

  test('closes in peace from either end', async () => {
    const ours = await openSession({}, isInterleaved);
    ours.association.shutdown(now());
    ours.settle();
    await until(() => ours.association.state === 'closed');
    expect(ours.error).toBeUndefined();
    const theirs = await openSession({}, isInterleaved);
    theirs.channels.open({ label: 'c' }, now()).send('bye', now());
    drive(theirs);
    await until(() => theirs.association.state === 'closed');
    expect(theirs.error).toBeUndefined();
  });
});

test.skipIf(!isMissing)('usrsctp interop is skipped: gcc or libusrsctp-dev is not here', () => {});
