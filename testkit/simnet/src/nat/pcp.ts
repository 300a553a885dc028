/** PCP, server side: RFC 6887 with ANNOUNCE, MAP and PREFER_FAILURE. Nonces are echoed, not compared. */

import { parseIpv4 } from '../net/address.ts';
import type { Endpoint } from './flow.ts';
import { MAX_LIFETIME_S, type PortMappingHost } from './port-mapping-host.ts';

const VERSION = 2;
const RESPONSE = 128;
const HEADER_BYTES = 24;
const MAP_BYTES = 36;
const MAX_BYTES = 1100;
const ERROR_LIFETIME_S = 30;
const OPTION_PREFER_FAILURE = 2;
const RESULT = {
  success: 0,
  unsupportedVersion: 1,
  malformedRequest: 3,
  unsupportedOpcode: 4,
  unsupportedOption: 5,
  malformedOption: 6,
  noResources: 8,
  unsupportedProtocol: 9,
  cannotProvideExternal: 11,
  addressMismatch: 12,
} as const;

type Result = (typeof RESULT)[keyof typeof RESULT];

export function answerPcp(request: Buffer, from: Endpoint, epochS: number, host: PortMappingHost): Buffer | undefined {
  const opcode = request.readUInt8(1);
  if (opcode >= RESPONSE) return undefined;
  const refuse = (result: Result) => respond(request, result, ERROR_LIFETIME_S, epochS);
  if (request.readUInt8(0) !== VERSION) return refuse(RESULT.unsupportedVersion);
  if (request.length < HEADER_BYTES) return undefined;
  if (request.length > MAX_BYTES || request.length % 4 !== 0) return refuse(RESULT.malformedRequest);
  const claimed = request.subarray(8, 24);
  if (!claimed.subarray(12).equals(parseIpv4(from.address))) return refuse(RESULT.addressMismatch);
  if (opcode === 0) return respond(request, RESULT.success, 0, epochS);
  if (opcode !== 1) return refuse(RESULT.unsupportedOpcode);
  if (request.length < HEADER_BYTES + MAP_BYTES) return refuse(RESULT.malformedRequest);
  const options = readOptions(request.subarray(HEADER_BYTES + MAP_BYTES));
  if (typeof options === 'number') return refuse(options);
  return answerMap(request, from, epochS, host, options.preferFailure);
}

function answerMap(
  request: Buffer,
  from: Endpoint,
  epochS: number,
  host: PortMappingHost,
  preferFailure: boolean,
): Buffer {
  const refuse = (result: Result) => respond(request, result, ERROR_LIFETIME_S, epochS);
  const protocolNumber = request.readUInt8(36);
  const insidePort = request.readUInt16BE(40);
  const wishedPort = request.readUInt16BE(42);
  const lifetimeS = Math.min(request.readUInt32BE(4), MAX_LIFETIME_S);
  if (protocolNumber !== 17 && protocolNumber !== 6) return refuse(RESULT.unsupportedProtocol);
  const protocol = protocolNumber === 17 ? 'udp' : 'tcp';
  if (lifetimeS === 0) {
    host.unmapPort(protocol, { address: from.address, port: insidePort || 'all' });
    return respond(request, RESULT.success, 0, epochS);
  }
  if (insidePort === 0) return refuse(RESULT.unsupportedProtocol);

  const inside = { address: from.address, port: insidePort };
  const outsidePort = host.mapPort({ protocol, inside, outsidePort: wishedPort, lifetimeMs: lifetimeS * 1000 });
  if (outsidePort === undefined) return refuse(RESULT.noResources);
  if (preferFailure && outsidePort !== wishedPort) {
    host.unmapPort(protocol, inside);
    return refuse(RESULT.cannotProvideExternal);
  }
  const response = respond(request, RESULT.success, lifetimeS, epochS);
  response.writeUInt16BE(outsidePort, 42);
  response.fill(0, 44, 54);
  response.fill(0xff, 54, 56);
  parseIpv4(host.outsideAddress).copy(response, 56);
  return response;
}

/** Options below 128 must be understood (RFC 6887, section 7.3). */
function readOptions(bytes: Buffer): { readonly preferFailure: boolean } | Result {
  let preferFailure = false;
  for (let at = 0; at < bytes.length; ) {
    if (at + 4 > bytes.length) return RESULT.malformedOption;
    const code = bytes.readUInt8(at);
    if (code === OPTION_PREFER_FAILURE) preferFailure = true;
    else if (code < 128) return RESULT.unsupportedOption;
    at += 4 + Math.ceil(bytes.readUInt16BE(at + 2) / 4) * 4;
    if (at > bytes.length) return RESULT.malformedOption;
  }
  return { preferFailure };
}

/** The request's payload with a response header (RFC 6887, section 7.2). */
function respond(request: Buffer, result: Result, lifetimeS: number, epochS: number): Buffer {
  const length = Math.max(HEADER_BYTES, Math.min(request.length - (request.length % 4), MAX_BYTES));
  const response = Buffer.alloc(length);
  response.set(request.subarray(HEADER_BYTES, length), HEADER_BYTES);
  response.writeUInt8(VERSION, 0);
  response.writeUInt8(RESPONSE | request.readUInt8(1), 1);
  response.writeUInt8(result, 3);
  response.writeUInt32BE(lifetimeS, 4);
  response.writeUInt32BE(epochS, 8);
  return response;
}
