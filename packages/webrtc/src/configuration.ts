/** `RTCConfiguration` (W3C WebRTC §4.2.1) and "set a configuration" (§4.4.1.6): what is refused, and by which name. */

import { type IceServer, parseServers } from '@claw/ice';
import type { SessionOptions } from './peer-session.ts';
import type { RTCCertificate } from './rtc-certificate.ts';

/** The W3C's dictionary. */
export interface ConfigurationDictionary {
  readonly iceServers?: readonly IceServer[] | undefined;
  readonly iceTransportPolicy?: 'all' | 'relay' | undefined;
  /** There is one section, so that all three mean the same. */
  readonly bundlePolicy?: 'balanced' | 'max-compat' | 'max-bundle' | undefined;
  readonly rtcpMuxPolicy?: 'require' | undefined;
  readonly certificates?: readonly RTCCertificate[] | undefined;
  /** A hint that nothing comes of: candidates are gathered when a description is set. */
  readonly iceCandidatePoolSize?: number | undefined;
}

/** And what only a program outside of a browser may choose. */
export interface RTCConfiguration
  extends ConfigurationDictionary,
    Omit<SessionOptions, 'identity' | 'keyShare' | 'iceServers' | 'iceTransportPolicy'> {}

/** With the W3C's defaults. */
export interface CheckedConfiguration extends ConfigurationDictionary {
  readonly iceServers: readonly IceServer[];
  readonly iceTransportPolicy: 'all' | 'relay';
  readonly bundlePolicy: 'balanced' | 'max-compat' | 'max-bundle';
  readonly rtcpMuxPolicy: 'require';
  readonly certificates: readonly RTCCertificate[];
  readonly iceCandidatePoolSize: number;
}

const POLICIES = {
  iceTransportPolicy: ['all', 'relay'],
  bundlePolicy: ['balanced', 'max-compat', 'max-bundle'],
  rtcpMuxPolicy: ['require'],
};

/** @throws TypeError; DOMException `SyntaxError`, `InvalidAccessError`, `NotSupportedError` */
export function checkConfiguration(configuration: ConfigurationDictionary, nowMs: number): CheckedConfiguration {
  const {
    iceServers = [],
    iceTransportPolicy = 'all',
    bundlePolicy = 'balanced',
    rtcpMuxPolicy = 'require',
    certificates = [],
    iceCandidatePoolSize = 0,
  } = configuration;
  const policies = { iceTransportPolicy, bundlePolicy, rtcpMuxPolicy };
  for (const [name, value] of Object.entries(policies)) {
    const known = POLICIES[name as keyof typeof POLICIES];
    if (!known.includes(value)) throw new TypeError(`${name} is "${value}"; it must be ${known.join(' or ')}`);
  }
  if (!Number.isInteger(iceCandidatePoolSize) || iceCandidatePoolSize < 0 || iceCandidatePoolSize > 255) {
    throw new TypeError(`iceCandidatePoolSize is ${iceCandidatePoolSize}; it must be a whole number from 0 to 255`);
  }
  if (certificates.some(({ expires }) => expires <= nowMs)) {
    throw new DOMException('a certificate has expired', 'InvalidAccessError');
  }
  for (const server of iceServers) checkServer(server);
  return { iceServers: [...iceServers], ...policies, certificates: [...certificates], iceCandidatePoolSize };
}

/**
 * Whether one may take the place of the other.
 * @throws DOMException `InvalidModificationError`
 */
export function checkChange(from: CheckedConfiguration, to: ConfigurationDictionary, hasDescription: boolean): void {
  const { bundlePolicy = 'balanced', rtcpMuxPolicy = 'require', certificates, iceCandidatePoolSize = 0 } = to;
  const refuse = (what: string) => {
    throw new DOMException(`${what} cannot be changed`, 'InvalidModificationError');
  };
  if (certificates && !isSame(certificates, from.certificates)) refuse('certificates');
  if (bundlePolicy !== from.bundlePolicy) refuse('bundlePolicy');
  if (rtcpMuxPolicy !== from.rtcpMuxPolicy) refuse('rtcpMuxPolicy');
  if (hasDescription && iceCandidatePoolSize !== from.iceCandidatePoolSize) {
    refuse('iceCandidatePoolSize with a local description');
  }
}

function isSame(these: readonly RTCCertificate[], those: readonly RTCCertificate[]): boolean {
  return these.length === those.length && these.every((each) => those.includes(each));
}

function checkServer(server: IceServer): void {
  const urls = [server.urls].flat();
  if (urls.length === 0) throw new DOMException('a server has no URL', 'SyntaxError');
  for (const url of urls) {
    if (typeof url !== 'string') throw new TypeError('urls of a server are strings');
    if (/^stuns:/i.test(url) || /^turns:.*\?transport=udp$/i.test(url)) {
      throw new DOMException(`${url}: STUN over TLS and TURN over DTLS are not supported`, 'NotSupportedError');
    }
    if (/^turns?:/i.test(url) && (server.username === undefined || server.credential === undefined)) {
      throw new DOMException(`${url} needs a username and a credential`, 'InvalidAccessError');
    }
    try {
      parseServers([{ ...server, urls: url }]);
    } catch (cause) {
      throw new DOMException((cause as Error).message, { name: 'SyntaxError', cause });
    }
  }
}
