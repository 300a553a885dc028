/** A connection on a loopback UDP socket with real timers, to meet other programs. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock, type Timer } from '@claw/base';
import type { CreatedCertificate, DtlsOptions, Role } from '../src/index.ts';
import { Core, type CoreOptions } from './two-cores.ts';

const HOST = '127.0.0.1';

export class UdpCore implements Disposable {
  readonly core: Core;
  readonly #socket: Socket;
  #peerPort: number | undefined;
  #timer: Timer | undefined;
  #changed = () => {};

  private constructor(socket: Socket, role: Role, options: CoreOptions & Pick<DtlsOptions, 'identity'>) {
    this.#socket = socket;
    this.core = new Core({
      role,
      initialTimeoutMs: 300,
      handshakeTimeoutMs: 10_000,
      onEvent: () => {},
      onApplicationData: () => {},
      ...options,
      send: (datagram) => {
        if (this.#peerPort !== undefined) socket.send(datagram, this.#peerPort, HOST);
      },
    });
    socket.on('message', (datagram: Buffer, { port }: RemoteInfo) => {
      this.#peerPort ??= port;
      this.core.connection.receive(datagram, systemClock.monotonicMs());
      this.#after();
    });
    // A peer that is not up yet answers with ICMP.
    socket.on('error', () => {});
  }

  /** As server, on the port that is then {@link port}; as client, towards `peerPort`. */
  static async open(role: Role, options: CoreOptions & Pick<DtlsOptions, 'identity'>): Promise<UdpCore> {
    const socket = createSocket('udp4');
    socket.bind(0, HOST);
    await once(socket, 'listening');
    return new UdpCore(socket, role, options);
  }

  get port(): number {
    return this.#socket.address().port;
  }

  start(peerPort?: number): void {
    this.#peerPort = peerPort;
    this.core.connection.start(systemClock.monotonicMs());
    this.#after();
  }

  send(text: string): void {
    this.core.connection.sendApplicationData(Buffer.from(text));
    this.#after();
  }

  close(): void {
    this.core.connection.close();
    this.#after();
  }

  /** Resolves when `condition` holds; rejects after `timeoutMs`. */
  async until(condition: (core: Core) => boolean, timeoutMs = 10_000): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = systemClock.setTimer(timeoutMs, () => {
      reject(new Error(`timed out: ${this.core.state} ${this.core.error?.code} ${this.core.error?.message}`));
    });
    this.#changed = () => {
      if (condition(this.core)) resolve();
      else if (this.core.error) reject(this.core.error);
    };
    this.#changed();
    await promise.finally(() => timer.cancel());
  }

  [Symbol.dispose](): void {
    this.core.connection.close();
    this.#timer?.cancel();
    this.#socket.close();
  }

  #after(): void {
    this.#timer?.cancel();
    const { deadlineMs } = this.core.connection;
    if (deadlineMs !== undefined) {
      this.#timer = systemClock.setTimer(deadlineMs - systemClock.monotonicMs(), () => {
        this.core.connection.handleTimeout(systemClock.monotonicMs());
        this.#after();
      });
    }
    this.#changed();
  }
}

/** Whether `program` can be run. */
export function hasProgram(program: string, ...args: string[]): boolean {
  return spawnSync(program, args, { stdio: 'ignore' }).status === 0;
}

/** Another program, whose output is collected; disposing ends it. */
export class Peer implements Disposable {
  readonly #child: ChildProcess;
  output = '';
  #changed = () => {};

  constructor(program: string, args: readonly string[]) {
    this.#child = spawn(program, args, { stdio: 'pipe' });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.output += chunk.toString('latin1');
        this.#changed();
      });
    }
    this.#child.stdin?.on('error', () => {});
  }

  write(text: string): void {
    this.#child.stdin?.write(text);
  }

  /** Resolves with the match as soon as the output has one. */
  async says(pattern: RegExp, timeoutMs = 10_000): Promise<RegExpExecArray> {
    const { promise, resolve, reject } = Promise.withResolvers<RegExpExecArray>();
    const timer = systemClock.setTimer(timeoutMs, () => {
      reject(new Error(`the peer never said ${pattern}, but: ${this.output.slice(-3000)}`));
    });
    this.#changed = () => {
      const match = pattern.exec(this.output);
      if (match) resolve(match);
    };
    this.#changed();
    return promise.finally(() => timer.cancel());
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
  }
}

/** A certificate and its key as PEM files in a folder of their own. */
export class PemFiles implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'claw-dtls-'));
  readonly certificate = join(this.#folder, 'certificate.pem');
  readonly key = join(this.#folder, 'key.pem');

  constructor({ certificate, privateKey }: CreatedCertificate) {
    writeFileSync(this.certificate, new X509Certificate(certificate).toString());
    writeFileSync(this.key, privateKey.export({ type: 'pkcs8', format: 'pem' }));
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** A UDP port of the loopback that was free a moment ago. */
export async function freePort(): Promise<number> {
  const socket = createSocket('udp4');
  socket.bind(0, HOST);
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  await once(socket, 'close');
  return port;
}
