/** NAT-PMP, server side: RFC 6886. */

import { parseIpv4 } from '../net/address.ts';
import type { Endpoint } from './flow.ts';
import { MAX_LIFETIME_S, type PortMappingHost } from './port-mapping-host.ts';

const RESULT = { success: 0, unsupportedVersion: 1, outOfResources: 4, unsupportedOpcode: 5 } as const;
const RESPONSE = 128;

export function answerNatPmp(
  request: Buffer,
  from: Endpoint,
  epochS: number,
  host: PortMappingHost,
): Buffer | undefined {
  const opcode = request.readUInt8(1);
  if (opcode >= RESPONSE) return undefined;
  if (request.readUInt8(0) !== 0) return answer(opcode, RESULT.unsupportedVersion, epochS, 8);
  if (opcode > 2) return answer(opcode, RESULT.unsupportedOpcode, epochS, 8);
  if (opcode === 0) {
    const response = answer(opcode, RESULT.success, epochS, 12);
    parseIpv4(host.outsideAddress).copy(response, 8);
    return response;
  }
  if (request.length < 12) return undefined;

  const protocol = opcode === 1 ? 'udp' : 'tcp';
  const insidePort = request.readUInt16BE(4);
  const lifetimeS = Math.min(request.readUInt32BE(8), MAX_LIFETIME_S);
  if (lifetimeS === 0 || insidePort === 0) {
    if (lifetimeS === 0) host.unmapPort(protocol, { address: from.address, port: insidePort || 'all' });
    return mapped(opcode, lifetimeS === 0 ? RESULT.success : RESULT.outOfResources, epochS, insidePort, 0, 0);
  }
  const inside = { address: from.address, port: insidePort };
  const wish = { protocol, inside, outsidePort: request.readUInt16BE(6), lifetimeMs: lifetimeS * 1000 } as const;
  const outsidePort = host.mapPort(wish);
  if (outsidePort === undefined) return mapped(opcode, RESULT.outOfResources, epochS, insidePort, 0, 0);
  return mapped(opcode, RESULT.success, epochS, insidePort, outsidePort, lifetimeS);
}

function answer(opcode: number, result: number, epochS: number, length: number): Buffer {
  const response = Buffer.alloc(length);
  response.writeUInt8(RESPONSE | opcode, 1);
  response.writeUInt16BE(result, 2);
  response.writeUInt32BE(epochS, 4);
  return response;
}

function mapped(
  opcode: number,
  result: number,
  epochS: number,
  insidePort: number,
  outsidePort: number,
  lifetimeS: number,
) {
  const response = answer(opcode, result, epochS, 16);
  response.writeUInt16BE(insidePort, 8);
  response.writeUInt16BE(outsidePort, 10);
  response.writeUInt32BE(lifetimeS, 12);
  return response;
}
