/**
 * Choices of a server, and checks of them by a client (RFC 8446 §4.1, RFC 9147 §5.3).
 * A suite is the client's first that we take too; a group is our first.
 */

import { type CipherSuite, suitesOf } from './cipher-suites.ts';
import { fault } from './errors.ts';
import { type Extensions, readKeyShares, readSrtpProfiles, readU16Vector, readVersionList } from './extensions.ts';
import type { ClientHello } from './hello.ts';
import { type GroupName, groupIds } from './key-exchange.ts';
import type { ResolvedOptions } from './options.ts';
import { type DtlsVersion, extensionType, wireVersion } from './registry.ts';
import { schemeIds } from './signature-schemes.ts';
import { type SrtpProfile, srtpProfileIds } from './srtp-profiles.ts';

/** @throws ClawError `DTLS_NEGOTIATION_FAILED` when there is none in common. */
export function chooseVersion(options: ResolvedOptions, hello: ClientHello): DtlsVersion {
  const list = hello.extensions.get(extensionType.supportedVersions);
  // Without the extension it is the hello's own version, which is DTLS 1.2 (RFC 8446 §4.2.1).
  const offered: readonly number[] = list ? readVersionList(list) : [wireVersion.dtls12];
  if (offered.includes(wireVersion.dtls13) && options.versions.includes('1.3')) return '1.3';
  if (offered.includes(wireVersion.dtls12) && options.versions.includes('1.2')) return '1.2';
  throw fault('DTLS_NEGOTIATION_FAILED', 'there is no version that both sides speak');
}

export function chooseSuite(options: ResolvedOptions, version: DtlsVersion, offered: readonly number[]): CipherSuite {
  const ours = suitesOf(version, options.ciphers);
  for (const id of offered) {
    const suite = ours.find((candidate) => candidate.id === id);
    if (suite) return suite;
  }
  throw fault('DTLS_NEGOTIATION_FAILED', 'there is no cipher suite that both sides speak');
}

/** The suite of ours that a server chose. */
export function suiteChosen(options: ResolvedOptions, version: DtlsVersion, id: number): CipherSuite {
  const suite = suitesOf(version, options.ciphers).find((candidate) => candidate.id === id);
  if (!suite) throw fault('DTLS_ILLEGAL_PARAMETER', `the server chose cipher suite ${id}, which was not offered`);
  return suite;
}

/** Our groups that the client takes, in our order. */
export function commonGroups(options: ResolvedOptions, version: DtlsVersion, extensions: Extensions): GroupName[] {
  const list = extensions.get(extensionType.supportedGroups);
  const offered = list ? readU16Vector(list) : [];
  const common = options.groups.filter((group) => offered.includes(groupIds[group]));
  const usable = version === '1.3' ? common : common.filter((group) => group !== 'X25519MLKEM768');
  if (usable.length === 0) throw fault('DTLS_NEGOTIATION_FAILED', 'there is no group that both sides speak');
  return usable;
}

/** The group of 1.3, and the client's share when it sent one. */
export function chooseShare(
  options: ResolvedOptions,
  extensions: Extensions,
): { group: GroupName; publicBytes: Buffer | undefined } {
  const content = extensions.get(extensionType.keyShare);
  if (!content) throw fault('DTLS_ILLEGAL_PARAMETER', 'the client sends no key_share');
  const groups = commonGroups(options, '1.3', extensions);
  const shares = readKeyShares(content);
  const shareOf = (group: GroupName) => shares.find((share) => share.group === groupIds[group])?.publicBytes;
  const [first = 'X25519'] = groups;
  const asksForHybrid = options.postQuantum === 'prefer' && first === 'X25519MLKEM768';
  const group = asksForHybrid ? first : (groups.find(shareOf) ?? first);
  return { group, publicBytes: shareOf(group) };
}

/** Checks that the peer takes signatures of our key. */
export function requireOurScheme(options: ResolvedOptions, schemes: readonly number[]): void {
  if (!schemes.includes(schemeIds[options.scheme])) {
    throw fault('DTLS_NEGOTIATION_FAILED', `the peer takes no signature of our kind, ${options.scheme}`);
  }
}

export function clientSchemes(extensions: Extensions): number[] {
  const list = extensions.get(extensionType.signatureAlgorithms);
  if (!list) throw fault('DTLS_NEGOTIATION_FAILED', 'the client names no signature schemes');
  return readU16Vector(list);
}

/** Our first profile that the client offers; none when either side has none. */
export function chooseSrtp(options: ResolvedOptions, extensions: Extensions): SrtpProfile | undefined {
  const content = extensions.get(extensionType.useSrtp);
  if (!content || options.srtpProfiles.length === 0) return undefined;
  const { profiles } = readSrtpProfiles(content);
  return options.srtpProfiles.find((profile) => profiles.includes(srtpProfileIds[profile]));
}

/** The profile that the server's answer names, which must be one that we offered, alone and without MKI. */
export function srtpChosen(options: ResolvedOptions, extensions: Extensions): SrtpProfile | undefined {
  const content = extensions.get(extensionType.useSrtp);
  if (!content) return undefined;
  const { profiles, mki } = readSrtpProfiles(content);
  const chosen = options.srtpProfiles.find((profile) => srtpProfileIds[profile] === profiles[0]);
  if (!chosen || profiles.length !== 1 || mki.length > 0) {
    throw fault('DTLS_ILLEGAL_PARAMETER', 'the server chose an SRTP profile that was not offered');
  }
  return chosen;
}
