/** A certificate authority of one run, and the certificate of a server it signed: keys on P-256, two days. */

import { join } from 'node:path';
import { runCommand } from '../command.ts';

export interface CertificateFiles {
  readonly authority: string;
  readonly certificate: string;
  readonly key: string;
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];

/** `names` are DNS names and addresses as OpenSSL writes them: `IP:20.0.0.10`. */
export async function makeCertificate(folder: string, names: readonly string[]): Promise<CertificateFiles> {
  const at = (name: string) => join(folder, name);
  const authority = at('authority.pem');
  const authorityKey = at('authority.key');
  const files = { authority, certificate: at('server.pem'), key: at('server.key') };
  const usage = ['-addext', 'keyUsage=critical,keyCertSign'];
  await runCommand('openssl', [
    ...['req', '-x509', ...NEW_KEY, '-subj', '/CN=claw lab authority', ...usage],
    ...['-keyout', authorityKey, '-out', authority],
  ]);
  await runCommand('openssl', [
    ...['req', '-x509', '-CA', authority, '-CAkey', authorityKey, ...NEW_KEY, '-subj', '/CN=claw lab server'],
    ...['-addext', `subjectAltName=${names.join(',')}`, '-addext', 'basicConstraints=critical,CA:false'],
    ...['-keyout', files.key, '-out', files.certificate],
  ]);
  return files;
}
