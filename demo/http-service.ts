/** An ordinary HTTP service on loopback: /file is argv[2] bytes that compress badly. Prints its port. */

import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { BLOCK_BYTES, block } from './payload.ts';

const size = Number(process.argv[2]);

const server = createServer((request, response) => {
  if (request.url !== '/file') {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': size });
  Readable.from(blocks(), { objectMode: false, highWaterMark: BLOCK_BYTES }).pipe(response);
});

function* blocks(): Generator<Buffer> {
  for (let at = 0; at < size; at += BLOCK_BYTES) yield block(at / BLOCK_BYTES).subarray(0, size - at);
}

server.listen(0, '127.0.0.1', () => {
  const hash = createHash('sha256');
  for (const bytes of blocks()) hash.update(bytes);
  console.log(JSON.stringify({ port: (server.address() as AddressInfo).port, sha256: hash.digest('hex') }));
});
