import { execFileSync } from 'node:child_process';
import { seededRandom } from '@claw/testkit';
import { describe, expect, it } from 'vitest';
import { canUseLab } from '../src/world/can-use-lab.ts';
import { formatUdp, parsePacket } from '../src/world/nat/packet.ts';
import { PacketNat } from '../src/world/nat/packet-nat.ts';
import { openLab } from '../src/world/open-lab.ts';
import { reaches, run, twoRouters, USER_NAT } from './world-topologies.ts';

const able = canUseLab();
const why = able.ok ? '' : ` (skipped: ${able.reason})`;
const PUB = '20.0.0.10';
const INSIDE = { address: '192.168.1.10', port: 1111 };
const SERVER = { address: PUB, port: 53 };

const newNat = () =>
  new PacketNat({
    spec: USER_NAT,
    outsideAddress: '20.0.1.1',
    insidePrefixes: ['192.168.1.0/24'],
    random: seededRandom(1),
  });

/** RFC 1071 over the IP header; 0 when it is right. */
function headerSum(packet: Buffer): number {
  let sum = 0;
  for (let at = 0; at < 20; at += 2) sum += packet.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}

describe('a user-space NAT', () => {
  it('rewrites packets out and in and keeps their checksums right', () => {
    const nat = newNat();
    const out = nat.handle(formatUdp(INSIDE, SERVER, Buffer.from('question')), 0) ?? Buffer.alloc(0);
    expect(headerSum(out)).toBe(0);
    expect(parsePacket(out)?.flow).toEqual({
      protocol: 'udp',
      source: { address: '20.0.1.1', port: 5000 },
      destination: SERVER,
    });
    const back = nat.handle(formatUdp(SERVER, { address: '20.0.1.1', port: 5000 }, Buffer.from('answer')), 1);
    expect(back && headerSum(back)).toBe(0);
    expect(back && parsePacket(back)?.flow.destination).toEqual(INSIDE);
    expect(nat.handle(formatUdp(SERVER, { address: '20.0.1.1', port: 5001 }, Buffer.alloc(9)), 1)).toBeUndefined();
  });

  it('sends later fragments after their first', () => {
    const nat = newNat();
    const first = formatUdp(INSIDE, SERVER, Buffer.alloc(64));
    first.writeUInt16BE(0x2000, 6);
    const later = formatUdp(INSIDE, SERVER, Buffer.alloc(64));
    later.writeUInt16BE(9, 6);
    expect(nat.handle(Buffer.from(later), 0)).toBeUndefined();
    expect(nat.handle(first, 0)).toBeDefined();
    const followed = nat.handle(later, 0);
    expect(followed?.subarray(12, 16)).toEqual(Buffer.from([20, 0, 1, 1]));
  });

  it('drops what is no packet and throws at nothing', () => {
    const nat = newNat();
    const random = seededRandom(7);
    for (let round = 0; round < 20_000; round += 1) {
      const packet = formatUdp(INSIDE, SERVER, random.bytes(40));
      for (const byte of random.bytes(4)) packet[byte % packet.length] = random.bytes(1)[0] ?? 0;
      packet[9] = [1, 6, 17][round % 3] ?? 17;
      nat.handle(packet.subarray(0, Math.floor(random.fraction() * (packet.length + 1))), round);
    }
  });

  it.skipIf(!able.ok)(`carries UDP, TCP and pings, loops back, and maps ports on request${why}`, async () => {
    await using lab = await openLab(twoRouters({ nat: USER_NAT }, { nat: USER_NAT }), { seed: 1 });
    expect(await reaches(lab, 'a', PUB)).toBe(true);
    // Larger than a frame: fragments.
    await run(lab, 'a', 'ping', '-c', '1', '-W', '1', '-s', '4000', PUB);
    const traced = run(lab, 'a', 'ping', '-n', '-c', '1', '-W', '1', '-t', '1', PUB);
    await expect(traced).rejects.toThrow('ended with 1');

    // NAT-PMP, RFC 6886: TCP port 80 to 8080 for an hour, asked of the router; the answer names the outside port.
    const ask = `printf '\\000\\002\\000\\000\\000\\120\\037\\220\\000\\000\\016\\020' | socat -t0.5 - UDP:192.168.1.1:5351 | od -An -tu1`;
    expect((await run(lab, 'a', 'sh', '-c', ask)).trim().split(/\s+/).map(Number).slice(8)).toEqual([
      0, 80, 31, 144, 0, 0, 14, 16,
    ]);
    lab.spawn('a', ['socat', 'TCP-LISTEN:80,fork,reuseaddr', 'SYSTEM:echo mapped']);
    const dial = (node: string) =>
      run(
        lab,
        node,
        'sh',
        '-c',
        'for i in 1 2 3 4 5; do socat -u TCP:20.0.1.1:8080,connect-timeout=1 - && exit 0; sleep 0.1; done; exit 1',
      );
    expect(await dial('pub')).toContain('mapped');
    expect(await dial('b')).toContain('mapped');
    // From its own inside: hairpin.
    expect(await dial('a')).toContain('mapped');
  });
});

it.skipIf(!able.ok)(`the lab's programs are compiled without a warning${why}`, () => {
  const folder = `${import.meta.dirname}/../native`;
  for (const name of ['netd', 'enter', 'udpload']) {
    const flags = ['-std=gnu17', '-O2', '-Wall', '-Wextra', '-Werror', '-o', '/dev/null', '-lm'];
    execFileSync('gcc', [`${folder}/${name}.c`, ...flags], { stdio: 'pipe' });
  }
});
