/** What a connection is made with. Misuse is refused at once, before a byte is sent. */

import { type Random, systemRandom } from '@claw/base';
import { checkFingerprints, type Fingerprint, type Identity, schemeOfIdentity } from './certificate.ts';
import { allCiphers, type CipherName } from './cipher-suites.ts';
import type { DtlsError } from './errors.ts';
import { type GroupName, hasMlKem, type KeyShare } from './key-exchange.ts';
import { defaultKeyLimits, type KeyLimits } from './record-layer.ts';
import type { DtlsVersion, Role } from './registry.ts';
import type { SignatureScheme } from './signature-schemes.ts';
import type { SrtpProfile } from './srtp-profiles.ts';

/** What both sides agreed on. */
export interface NegotiatedFacts {
  readonly version: DtlsVersion;
  readonly cipher: CipherName;
  readonly group: GroupName;
  /** What we signed with. */
  readonly localScheme: SignatureScheme;
  readonly peerScheme: SignatureScheme;
  /** DER. */
  readonly peerCertificate: Buffer;
  readonly srtpProfile: SrtpProfile | undefined;
}

export type DtlsEvent =
  /** Both sides are verified; application data flows. */
  | { readonly type: 'connected'; readonly negotiated: NegotiatedFacts }
  /** The peer closed, or we did. */
  | { readonly type: 'closed' }
  | { readonly type: 'failed'; readonly error: DtlsError }
  /** We send under new keys. */
  | { readonly type: 'keys-updated'; readonly epoch: number };

export interface DtlsOptions {
  readonly role: Role;
  readonly identity: Identity;
  /** What the peer's certificate must hash to. Without them the handshake waits for `setRemoteFingerprints`. */
  readonly remoteFingerprints?: readonly Fingerprint[];
  /** Default both. */
  readonly versions?: readonly DtlsVersion[];
  /** In order of preference. Default all: AES-128-GCM, AES-256-GCM, ChaCha20-Poly1305. */
  readonly ciphers?: readonly CipherName[];
  /** In order of preference. Default X25519, P-256. */
  readonly groups?: readonly ('X25519' | 'P-256')[];
  /** Of 1.3, made beforehand by {@link createShare} for this connection alone. Default: made when it is needed. */
  readonly keyShare?: KeyShare | undefined;
  /**
   * X25519MLKEM768 where the platform has it, in 1.3 only. `offer` (default) names it and sends no share, so that a
   * ClientHello is one datagram; `prefer` sends its share first, and as server asks for it; `off` does neither.
   */
  readonly postQuantum?: 'offer' | 'prefer' | 'off';
  /** In order of preference. Default none: use_srtp is neither offered nor accepted. */
  readonly srtpProfiles?: readonly SrtpProfile[];
  /** As server: proves the client's address by a cookie first, which costs a round trip. Default false. */
  readonly cookie?: boolean;
  /** As server: something below, as ICE, has proven the client's address, so the amplification limit is off. Default false. */
  readonly addressProven?: boolean;
  /** Largest datagram, until {@link DtlsConnection.setPath}. Default 1,200. */
  readonly mtuBytes?: number;
  /** First retransmission timeout. Default 100 ms, for a path whose round trip ICE has measured; RFC 9147 says 1,000 else. */
  readonly initialTimeoutMs?: number;
  /** From `start` to connected, and from a key update to its ACK. Default 30,000 ms. */
  readonly handshakeTimeoutMs?: number;
  readonly random?: Random;
  readonly keyLimits?: Partial<KeyLimits>;
  /** Sends one datagram, whose memory is the callee's from then on. */
  readonly send: (datagram: Buffer) => void;
  /** Sends what is to leave now of a flight of the handshake. Default: each datagram by `send`. */
  readonly sendFlight?: (datagrams: readonly Buffer[]) => void;
  readonly onEvent: (event: DtlsEvent) => void;
  /** The memory of `bytes` is the callee's from then on. */
  readonly onApplicationData: (bytes: Buffer) => void;
}

export interface ResolvedOptions
  extends Required<Omit<DtlsOptions, 'remoteFingerprints' | 'groups' | 'keyLimits' | 'keyShare'>> {
  readonly remoteFingerprints: readonly Fingerprint[] | undefined;
  readonly groups: readonly GroupName[];
  readonly keyShare: KeyShare | undefined;
  readonly keyLimits: KeyLimits;
  readonly scheme: SignatureScheme;
}

const MIN_MTU_BYTES = 256;
const MAX_MTU_BYTES = 16_384;

/** @throws RangeError for a value out of bounds; TypeError when the identity is none that we can use. */
export function resolveOptions(options: DtlsOptions): ResolvedOptions {
  const { groups = ['X25519', 'P-256'], postQuantum = 'offer', mtuBytes = 1200, remoteFingerprints } = options;
  const versions = options.versions ?? ['1.3', '1.2'];
  const ciphers = options.ciphers ?? allCiphers;
  if (versions.length === 0 || ciphers.length === 0 || groups.length === 0) {
    throw new RangeError('versions, ciphers and groups must name one at least');
  }
  const hybrid: GroupName[] = hasMlKem && postQuantum !== 'off' && versions.includes('1.3') ? ['X25519MLKEM768'] : [];
  return {
    role: options.role,
    identity: options.identity,
    scheme: schemeOfIdentity(options.identity),
    remoteFingerprints: remoteFingerprints && checkFingerprints(remoteFingerprints),
    versions,
    ciphers,
    groups: postQuantum === 'prefer' ? [...hybrid, ...groups] : [...groups, ...hybrid],
    keyShare: options.keyShare,
    postQuantum,
    srtpProfiles: options.srtpProfiles ?? [],
    cookie: options.cookie ?? false,
    addressProven: options.addressProven ?? false,
    mtuBytes: checkMtu(mtuBytes),
    initialTimeoutMs: positive('initialTimeoutMs', options.initialTimeoutMs ?? 100),
    handshakeTimeoutMs: positive('handshakeTimeoutMs', options.handshakeTimeoutMs ?? 30_000),
    random: options.random ?? systemRandom,
    keyLimits: { ...defaultKeyLimits, ...options.keyLimits },
    send: options.send,
    sendFlight: options.sendFlight ?? ((datagrams) => datagrams.forEach(options.send)),
    onEvent: options.onEvent,
    onApplicationData: options.onApplicationData,
  };
}

export function checkMtu(mtuBytes: number): number {
  if (mtuBytes >= MIN_MTU_BYTES && mtuBytes <= MAX_MTU_BYTES) return mtuBytes;
  throw new RangeError(`mtuBytes is ${mtuBytes}, not within ${MIN_MTU_BYTES} and ${MAX_MTU_BYTES}`);
}

function positive(name: string, value: number): number {
  if (!(value > 0)) throw new RangeError(`${name} is ${value}, not above zero`);
  return value;
}
