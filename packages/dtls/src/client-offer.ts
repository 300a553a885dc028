/**
 * The ClientHello: one for both versions (RFC 9147 §5.3, RFC 8446 §4.1.2). It is
 * padded (RFC 7685) so that a server's first flight fits into three times its length.
 */

import { u8, u16, vector8, vector16 } from './byte-writer.ts';
import { suitesOf } from './cipher-suites.ts';
import { encodeKeyShare, encodeSrtpProfiles, encodeU16Vector, encodeVersionList } from './extensions.ts';
import { encodeClientHello, RANDOM_BYTES } from './hello.ts';
import { createShare, type GroupName, groupIds, type KeyShare } from './key-exchange.ts';
import type { ResolvedOptions } from './options.ts';
import { extensionType, wireVersion } from './registry.ts';
import { allSchemeIds } from './signature-schemes.ts';
import { srtpProfileIds } from './srtp-profiles.ts';

export interface ClientOffer {
  readonly random: Buffer;
  /** Of 1.3; none when it is not offered. */
  readonly shares: readonly KeyShare[];
}

export interface HelloCookies {
  /** From a HelloVerifyRequest. */
  readonly cookie12?: Buffer;
  /** From a HelloRetryRequest. */
  readonly cookie13?: Buffer | undefined;
}

const PADDED_BYTES = 448;
const EMPTY = Buffer.alloc(0);

export function createOffer({ random, versions, groups, keyShare }: ResolvedOptions): ClientOffer {
  // The first group's share; after a hybrid one also the one that everybody has.
  const [first, second] = groups;
  const shared = first === 'X25519MLKEM768' && second ? [first, second] : groups.slice(0, 1);
  const shareOf = (group: GroupName) => (keyShare?.group === group ? keyShare : createShare(group));
  const shares = versions.includes('1.3') ? shared.map(shareOf) : [];
  return { random: random.bytes(RANDOM_BYTES), shares };
}

/** The ClientHello's body. */
export function encodeOffer(options: ResolvedOptions, offer: ClientOffer, cookies: HelloCookies = {}): Buffer {
  const extensions = new Map<number, Buffer>();
  const { versions, groups, srtpProfiles } = options;
  if (versions.includes('1.3')) {
    const offered = versions.map((version) => (version === '1.3' ? wireVersion.dtls13 : wireVersion.dtls12));
    extensions.set(extensionType.supportedVersions, encodeVersionList(offered.toSorted((a, b) => a - b)));
    const shares = offer.shares.map(({ group, publicBytes }) =>
      encodeKeyShare({ group: groupIds[group], publicBytes }),
    );
    extensions.set(extensionType.keyShare, vector16(...shares));
    if (cookies.cookie13) extensions.set(extensionType.cookie, vector16(cookies.cookie13));
  }
  extensions.set(extensionType.supportedGroups, encodeU16Vector(groups.map((group) => groupIds[group])));
  extensions.set(extensionType.signatureAlgorithms, encodeU16Vector(allSchemeIds));
  if (srtpProfiles.length > 0) {
    const profiles = srtpProfiles.map((profile) => srtpProfileIds[profile]);
    extensions.set(extensionType.useSrtp, encodeSrtpProfiles(profiles));
  }
  if (versions.includes('1.2')) {
    extensions.set(extensionType.extendedMasterSecret, EMPTY);
    extensions.set(extensionType.renegotiationInfo, vector8());
    extensions.set(extensionType.ecPointFormats, vector8(u8(0)));
  }
  const hello = {
    random: offer.random,
    sessionId: EMPTY,
    cookie: EMPTY,
    cipherSuites: (['1.3', '1.2'] as const)
      .filter((version) => versions.includes(version))
      .flatMap((version) => suitesOf(version, options.ciphers).map(({ id }) => id)),
    extensions,
  };
  const missing = PADDED_BYTES - encodeClientHello(hello).length - u16(0, 0).length;
  if (missing >= 0) extensions.set(extensionType.padding, Buffer.alloc(missing));
  return encodeClientHello({ ...hello, cookie: cookies.cookie12 ?? EMPTY });
}
