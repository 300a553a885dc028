/** A tunnel through an HTTP proxy: CONNECT (RFC 9110 §9.3.6) with basic authentication (RFC 7617). */

import type { Socket } from 'node:net';
import { familyOf, type TransportAddress } from '../address.ts';
import { iceError } from '../errors.ts';

export interface HttpProxy {
  readonly host: string;
  readonly port: number;
  readonly username?: string;
  readonly password?: string;
}

/** A proxy that answers more than this before the blank line is none. */
const MAX_HEAD_BYTES = 16_384;

/**
 * Asks for a tunnel on a connected socket and resolves once it stands; bytes behind the answer
 * are put back. Rejects with `ICE_PROXY_REFUSED`.
 */
export function openTunnel(socket: Socket, target: TransportAddress, proxy: HttpProxy): Promise<void> {
  const { address, port } = target;
  const authority = familyOf(address) === 6 ? `[${address}]:${port}` : `${address}:${port}`;
  const lines = [`CONNECT ${authority} HTTP/1.1`, `Host: ${authority}`];
  if (proxy.username !== undefined) {
    const secret = Buffer.from(`${proxy.username}:${proxy.password ?? ''}`, 'utf8').toString('base64');
    lines.push(`Proxy-Authorization: Basic ${secret}`);
  }
  return new Promise((resolve, reject) => {
    let head = Buffer.alloc(0);
    const finish = (error?: Error) => {
      socket.off('data', onData).off('close', onClose);
      if (!error) return resolve();
      reject(error);
    };
    const onClose = () => finish(iceError('ICE_PROXY_REFUSED', 'the proxy closed the connection'));
    const onData = (chunk: Buffer) => {
      // A quadratic search would need many tiny chunks, and the limit is small.
      head = Buffer.concat([head, chunk]);
      const end = head.indexOf('\r\n\r\n');
      if (end < 0) {
        if (head.length > MAX_HEAD_BYTES) finish(iceError('ICE_PROXY_REFUSED', 'the proxy does not speak HTTP'));
        return;
      }
      const [status = ''] = head.toString('latin1', 0, end).split('\r\n', 1);
      if (!/^HTTP\/1\.[01] 2\d\d\b/.test(status)) {
        return finish(iceError('ICE_PROXY_REFUSED', `the proxy answers "${status.slice(0, 100)}"`));
      }
      socket.pause();
      const rest = head.subarray(end + 4);
      if (rest.length > 0) socket.unshift(rest);
      finish();
    };
    socket.on('data', onData).once('close', onClose);
    socket.write(`${lines.join('\r\n')}\r\n\r\n`);
  });
}
