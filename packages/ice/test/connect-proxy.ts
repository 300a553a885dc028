/** An HTTP proxy on loopback that knows CONNECT and basic authentication, and nothing else. */

import { connect, createServer, type Socket } from 'node:net';

const REFUSAL = [
  'HTTP/1.1 407 Proxy Authentication Required',
  'Proxy-Authenticate: Basic realm="claw"',
  'Content-Length: 0',
  'Connection: close',
  '\r\n',
].join('\r\n');

export interface ConnectProxy extends AsyncDisposable {
  readonly port: number;
  /** Targets that were asked for with the right password. */
  readonly tunnels: string[];
  readonly refusals: number;
}

export async function startConnectProxy(username: string, password: string): Promise<ConnectProxy> {
  const tunnels: string[] = [];
  let refusals = 0;
  const sockets = new Set<Socket>();
  const expected = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).once('close', () => sockets.delete(socket));
    socket.once('data', (head) => {
      const text = head.toString('latin1');
      const target = /^CONNECT (\S+):(\d+) HTTP\/1\.1\r\n/.exec(text);
      if (!target || !text.includes(`\r\nProxy-Authorization: ${expected}\r\n`)) {
        refusals += 1;
        socket.end(REFUSAL);
        return;
      }
      tunnels.push(`${target[1]}:${target[2]}`);
      const out = connect(Number(target[2]), target[1], () => {
        socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
        socket.pipe(out).pipe(socket);
      });
      sockets.add(out);
      out.on('error', () => socket.destroy()).once('close', () => sockets.delete(out));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return {
    port: typeof address === 'object' && address ? address.port : 0,
    tunnels,
    get refusals() {
      return refusals;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
