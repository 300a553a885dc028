/** node:tls 1.3 over one TCP connection; b's certificate is made beforehand and pinned by its fingerprint. */

import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { type ConnectionOptions, connect, TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import type { Adapter, PrepareContext } from '../contract.ts';
import { openOverTcp } from './tcp-peers.ts';

const run = promisify(execFile);

interface Certificate {
  readonly key: string;
  readonly cert: string;
}

export function createTlsAdapter(): Adapter {
  let certificate: Certificate | undefined;
  return {
    name: 'tls',
    version: async () => `node ${process.versions.node}, OpenSSL ${process.versions.openssl}`,
    async prepare(context) {
      if (context.role === 'b') certificate = await makeCertificate(context);
    },
    open: (context) =>
      openOverTcp(context, {
        protocol: 'tls',
        facts: certificate && new X509Certificate(certificate.cert).fingerprint256,
        accept: (socket) => secured(new TLSSocket(socket, { isServer: true, minVersion: 'TLSv1.3', ...certificate })),
        connect: (socket, fingerprint) => connectPinned(socket, String(fingerprint)),
      }),
  };
}

async function makeCertificate({ folder }: PrepareContext): Promise<Certificate> {
  const [keyFile, certFile] = [join(folder, 'tls.key'), join(folder, 'tls.pem')];
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=lab', '-days', '2'];
  await run('openssl', ['req', '-x509', ...kind, '-keyout', keyFile, '-out', certFile]);
  return { key: await readFile(keyFile, 'utf8'), cert: await readFile(certFile, 'utf8') };
}

async function connectPinned(socket: Socket, fingerprint: string): Promise<TLSSocket> {
  // No name and no authority: the fingerprint is the whole of the check.
  const options: ConnectionOptions = { socket, minVersion: 'TLSv1.3', rejectUnauthorized: false };
  const secure = await secured(connect(options), 'secureConnect');
  const found = secure.getPeerX509Certificate()?.fingerprint256;
  if (found === fingerprint) return secure;
  secure.destroy();
  throw new Error(`the peer's certificate has the fingerprint ${found}, told was ${fingerprint}`);
}

function secured(socket: TLSSocket, event = 'secure'): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.once(event, () => {
      socket.off('error', reject);
      resolve(socket);
    });
  });
}
