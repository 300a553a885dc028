/** Just enough of a pcapng reader to check what the writer wrote. */

export interface ReadPacket {
  readonly interface: number;
  readonly atNs: bigint;
  readonly direction: 'in' | 'out';
  /** Of the IP header. */
  readonly protocol: number;
  readonly isChecksumRight: boolean;
}

export function readPcapng(file: Buffer): { readonly interfaces: string[]; readonly packets: ReadPacket[] } {
  const interfaces: string[] = [];
  const packets: ReadPacket[] = [];
  for (let at = 0; at < file.length; ) {
    const length = file.readUInt32LE(at + 4);
    if (length % 4 !== 0 || file.readUInt32LE(at + length - 4) !== length) throw new Error(`block at ${at} is broken`);
    const body = file.subarray(at + 8, at + length - 4);
    const type = file.readUInt32LE(at);
    if (type === 1) interfaces.push(String(optionsOf(body.subarray(8)).get(2)));
    if (type === 6) packets.push(readPacket(body));
    at += length;
  }
  return { interfaces, packets };
}

function readPacket(body: Buffer): ReadPacket {
  const length = body.readUInt32LE(12);
  const bytes = body.subarray(20, 20 + length);
  const flags = optionsOf(body.subarray(20 + Math.ceil(length / 4) * 4)).get(2);
  const isIpv4 = bytes.readUInt8(0) >> 4 === 4;
  const protocol = bytes.readUInt8(isIpv4 ? 9 : 6);
  const payload = bytes.subarray(isIpv4 ? 20 : 40);
  const claimed = isIpv4 ? bytes.readUInt16BE(2) : bytes.readUInt16BE(4) + 40;
  if (claimed !== bytes.length) throw new Error(`a packet of ${bytes.length} bytes claims ${claimed}`);
  const pseudo = Buffer.alloc(4);
  pseudo.writeUInt16BE(payload.length);
  pseudo.writeUInt16BE(protocol, 2);
  const addresses = isIpv4 ? bytes.subarray(12, 20) : bytes.subarray(8, 40);
  const covered = protocol === 1 ? payload : Buffer.concat([addresses, pseudo, payload]);
  const isHeaderRight = !isIpv4 || onesSum(bytes.subarray(0, 20)) === 0xffff;
  return {
    interface: body.readUInt32LE(0),
    atNs: (BigInt(body.readUInt32LE(4)) << 32n) | BigInt(body.readUInt32LE(8)),
    direction: flags?.readUInt32LE() === 1 ? 'in' : 'out',
    protocol,
    isChecksumRight: isHeaderRight && onesSum(covered) === 0xffff,
  };
}

function optionsOf(bytes: Buffer): Map<number, Buffer> {
  const options = new Map<number, Buffer>();
  for (let at = 0; at + 4 <= bytes.length && bytes.readUInt16LE(at) !== 0; ) {
    const length = bytes.readUInt16LE(at + 2);
    options.set(bytes.readUInt16LE(at), bytes.subarray(at + 4, at + 4 + length));
    at += 4 + Math.ceil(length / 4) * 4;
  }
  return options;
}

function onesSum(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) {
    sum += (bytes.readUInt8(at) << 8) | (at + 1 < bytes.length ? bytes.readUInt8(at + 1) : 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return sum;
}
