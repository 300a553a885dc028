/**
 * A process that delays UDP on loopback: for each mapped port it opens another
 * one; what arrives there comes out at the first, later, from a socket that leads
 * back the same way.
 */

import { createSocket, type Socket } from 'node:dgram';

const delayMs = Number(process.argv[2]);
const HOST = '127.0.0.1';

async function bound(): Promise<Socket> {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 4 * 1024 * 1024 });
  await new Promise<void>((resolve) => socket.bind(0, HOST, resolve));
  return socket;
}

async function map(port: number): Promise<number> {
  const entrance = await bound();
  const exits = new Map<number, Promise<Socket>>();
  entrance.on('message', (message, from) => {
    let exit = exits.get(from.port);
    if (!exit) {
      exit = bound().then((socket) => {
        socket.on('message', (back) => setTimeout(() => entrance.send(back, from.port, HOST), delayMs));
        return socket;
      });
      exits.set(from.port, exit);
    }
    void exit.then((socket) => setTimeout(() => socket.send(message, port, HOST), delayMs));
  });
  return entrance.address().port;
}

process.on('message', ({ id, port }: { id: number; port: number }) => {
  void map(port).then((mapped) => process.send?.({ id, mapped }));
});
process.on('disconnect', () => process.exit(0));
