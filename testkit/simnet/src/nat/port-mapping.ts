/**
 * The server side of port forwarding on request: NAT-PMP (RFC 6886) and PCP
 * (RFC 6887, opcodes ANNOUNCE and MAP), told apart by their first byte. What is
 * malformed beyond an answer gets none; nothing throws.
 */

import { familyOf } from '../net/address.ts';
import type { Endpoint } from './flow.ts';
import { answerNatPmp } from './nat-pmp.ts';
import { answerPcp } from './pcp.ts';
import type { PortMappingHost } from './port-mapping-host.ts';

export function answerPortMapping(
  spoken: readonly ('nat-pmp' | 'pcp')[],
  request: Uint8Array,
  from: Endpoint,
  nowMs: number,
  host: PortMappingHost,
): Buffer | undefined {
  const hasAddresses = familyOf(from.address) === 'ipv4' && host.outsideAddress !== '';
  if (!hasAddresses || spoken.length === 0 || request.length < 2) return undefined;
  const bytes = Buffer.from(request);
  const epochS = Math.floor(nowMs / 1000) >>> 0;
  const usePcp = spoken.includes('pcp') && (bytes[0] !== 0 || !spoken.includes('nat-pmp'));
  return usePcp ? answerPcp(bytes, from, epochS, host) : answerNatPmp(bytes, from, epochS, host);
}
