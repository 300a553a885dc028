import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ScenarioEvent, Topology } from '@claw/scenarios';
import { temporaryDirectory, until } from '@claw/testkit';
import { describe, expect, it } from 'vitest';
import { canUseLab } from '../src/world/can-use-lab.ts';
import { findHierarchy } from '../src/world/control-group.ts';
import { type OpenedLab, openLab } from '../src/world/open-lab.ts';
import { sweepOrphans } from '../src/world/run-record.ts';
import { KERNEL_NAT, reaches, roundTripMs, run, twoRouters, USER_NAT } from './world-topologies.ts';

const able = canUseLab();
const why = able.ok ? '' : ` (skipped: ${able.reason})`;
const PUB = '20.0.0.10';

/** Whatever carries the run's id: namespaces, control groups, folders. */
function leftOf(runId: string): string[] {
  const hierarchy = findHierarchy() ?? '';
  const folders = ['/run/netns', hierarchy, join(tmpdir(), 'claw-lab')].filter((folder) => existsSync(folder));
  return folders.flatMap((folder) => readdirSync(folder).filter((name) => name.split('-').includes(runId)));
}

type WithoutTime<T> = T extends unknown ? Omit<T, 'atMs'> : never;
const event = (lab: OpenedLab, what: WithoutTime<ScenarioEvent>) => lab.apply({ atMs: 0, ...what });

describe.skipIf(!able.ok)(`a lab${why}`, () => {
  it('is up with two kernel NATs, carries pings, and leaves nothing when it closes', async () => {
    const topology = twoRouters({ nat: KERNEL_NAT }, { nat: KERNEL_NAT });
    const { rb } = topology.nodes;
    const interfaces = { ...rb!.interfaces, mute: { network: 'net', ipv4: '20.0.2.7' } };
    const lab = await openLab({ ...topology, nodes: { ...topology.nodes, rb: { ...rb!, interfaces } } }, { seed: 1 });
    expect(await reaches(lab, 'a', PUB)).toBe(true);
    expect(await reaches(lab, 'b', '20.0.1.1')).toBe(false);
    expect(await reaches(lab, 'a', '2a0c:b640::10')).toBe(true);
    expect(await run(lab, 'rb', 'ip', '-6', '-o', 'address', 'show', 'dev', 'mute')).toBe('');
    await event(lab, { do: 'set-address', node: 'rb', interface: 'mute', ipv4: '20.0.2.7', ipv6: '2a0c:b640::77' });
    expect(await reaches(lab, 'pub', '2a0c:b640::77')).toBe(true);
    expect(lab.traffic('a').packetsOut).toBeGreaterThan(0);
    const sleeper = lab.spawn('a', ['sleep', '100']);
    const ended = once(sleeper, 'exit');
    await lab.close();
    await lab.close();
    await ended;
    expect(leftOf(lab.runId)).toEqual([]);
    expect(() => lab.spawn('a', ['true'])).toThrow(expect.objectContaining({ code: 'LAB_CLOSED' }));
  });

  it('counts the CPU time of processes that have ended', async () => {
    await using lab = await openLab(twoRouters({}, {}), { seed: 1 });
    await run(lab, 'a', 'sh', '-c', 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done');
    expect(lab.cpuMs('a')).toBeGreaterThan(20);
    expect(lab.cpuMs('b')).toBe(0);
  });

  it('does what events say', async () => {
    await using lab = await openLab(twoRouters({ nat: KERNEL_NAT }, { nat: USER_NAT }), { seed: 1 });
    await event(lab, { do: 'set-link', node: 'a', interface: 'eth0', direction: 'both', link: { delayMs: 20 } });
    expect(await roundTripMs(lab, 'a', PUB)).toBeGreaterThan(39);
    await event(lab, {
      do: 'set-link',
      node: 'a',
      interface: 'eth0',
      direction: 'both',
      link: { dropAboveBytes: 1000 },
    });
    expect(await roundTripMs(lab, 'a', PUB)).toBeLessThan(10);
    await expect(run(lab, 'a', 'ping', '-c', '1', '-W', '0.3', '-s', '1200', PUB)).rejects.toThrow('ended with 1');
    await event(lab, { do: 'interface-down', node: 'a', interface: 'eth0' });
    expect(await reaches(lab, 'a', PUB)).toBe(false);
    await event(lab, { do: 'interface-up', node: 'a', interface: 'eth0' });
    expect(await reaches(lab, 'a', PUB)).toBe(true);
    await event(lab, { do: 'partition', nodes: ['a', 'ra'] });
    expect(await reaches(lab, 'a', PUB)).toBe(false);
    expect(await reaches(lab, 'a', '192.168.1.1')).toBe(true);
    await event(lab, { do: 'heal' });
    expect(await reaches(lab, 'a', PUB)).toBe(true);
    for (const [node, router] of [
      ['a', 'ra'],
      ['b', 'rb'],
    ] as const) {
      await event(lab, {
        do: 'set-address',
        node: router,
        interface: 'outside',
        ipv4: `20.0.9.${router === 'ra' ? 1 : 2}`,
      });
      expect(await reaches(lab, node, PUB)).toBe(true);
    }
    await event(lab, { do: 'set-gateway', node: 'a', ipv4: '192.168.1.77' });
    expect(await reaches(lab, 'a', PUB)).toBe(false);
    await event(lab, { do: 'set-gateway', node: 'a', ipv4: '192.168.1.1', ipv6: '2a0c:b640:99::1' });
    expect(await reaches(lab, 'a', PUB)).toBe(true);
    expect(await run(lab, 'a', 'ip', '-6', 'route', 'show', 'default')).toBe('');
    await expect(event(lab, { do: 'clock-step', node: 'a', byMs: 1000 })).rejects.toMatchObject({
      code: 'LAB_EVENT_UNSUPPORTED',
    });
    await expect(event(lab, { do: 'sleep', node: 'nobody' })).rejects.toMatchObject({ code: 'LAB_NODE_UNKNOWN' });
  });

  it('loses the same packets with the same seed', async () => {
    const topology: Topology = {
      networks: { net: { ipv4: '20.0.0.0/16' } },
      nodes: {
        a: {
          kind: 'host',
          interfaces: { eth0: { network: 'net', ipv4: '20.0.0.1', up: { loss: { model: 'bernoulli', share: 0.3 } } } },
        },
        b: { kind: 'host', interfaces: { eth0: { network: 'net', ipv4: '20.0.0.2' } } },
      },
    };
    const answered = async (seed: number) => {
      await using lab = await openLab(topology, { seed });
      const text = await run(lab, 'a', 'ping', '-n', '-c', '60', '-i', '0.003', '-W', '0.2', '20.0.0.2');
      return [...text.matchAll(/icmp_seq=(\d+)/g)].map(([, number]) => Number(number));
    };
    const [once, again, other] = [await answered(5), await answered(5), await answered(6)];
    expect(again).toEqual(once);
    expect(other).not.toEqual(once);
  });

  it('stops the processes of a host that sleeps', async () => {
    await using lab = await openLab(twoRouters({}, {}), { seed: 1 });
    const ticker = lab.spawn('a', ['sh', '-c', 'while sleep 0.01; do echo .; done'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    let ticks = 0;
    ticker.stdout?.on('data', () => (ticks += 1));
    await until(() => ticks > 2, 'a tick');
    await event(lab, { do: 'sleep', node: 'a' });
    expect(await reaches(lab, 'ra', '192.168.1.10')).toBe(false);
    const before = ticks;
    await run(lab, 'b', 'sleep', '0.1');
    expect(ticks - before).toBeLessThan(2);
    await event(lab, { do: 'wake', node: 'a' });
    await until(() => ticks > before + 2, 'a tick after waking');
    expect(await reaches(lab, 'ra', '192.168.1.10')).toBe(true);
  });

  it('runs its services, takes them down and up, and resolves names', async () => {
    const services = [{ kind: 'turn', tls: 443 }, { kind: 'http-proxy' }, { kind: 'dns' }] as const;
    await using lab = await openLab(twoRouters({ nat: USER_NAT }, {}, { services }), { seed: 1 });
    const { turn, httpProxy, publicHost } = lab.services;
    expect(publicHost).toBe(PUB);
    expect(await run(lab, 'a', 'getent', 'ahostsv4', 'pub.lab')).toContain(PUB);
    const secret = ['-u', turn?.username ?? '', '-w', turn?.credential ?? ''];
    const client = ['turnutils_uclient', '-n', '2', '-m', '1', '-y', '-c', ...secret] as const;
    expect(await run(lab, 'a', ...client, PUB)).toContain('tot_recv_msgs');
    const tls = ['s_client', '-connect', `${PUB}:443`, '-CAfile', turn?.caFile ?? '', '-verify_return_error'] as const;
    expect(await run(lab, 'a', 'openssl', ...tls, '-verify_ip', PUB, '-brief')).toBe('');
    const connect = `CONNECT ${PUB}:443 HTTP/1.1\r\nProxy-Authorization: Basic ${Buffer.from(`${httpProxy?.username}:${httpProxy?.password}`).toString('base64')}\r\n\r\n`;
    const ask = (text: string) =>
      run(lab, 'a', 'sh', '-c', `printf '%b' "$1" | timeout 2 socat -t1 - TCP:${PUB}:3128 | head -1`, 'sh', text);
    expect(await ask(connect)).toContain(' 200 ');
    expect(await ask(connect.replace('Basic ', 'Basic x'))).toMatch(/ 40[17] /);
    await event(lab, { do: 'service-down', node: 'pub', service: 'http-proxy' });
    await expect(run(lab, 'a', 'socat', '-u', 'OPEN:/dev/null', `TCP:${PUB}:3128,connect-timeout=1`)).rejects.toThrow(
      'refused',
    );
    await event(lab, { do: 'service-up', node: 'pub', service: 'http-proxy' });
    expect(await ask(connect)).toContain(' 200 ');
  });

  it('writes a capture of each node', async () => {
    using folder = temporaryDirectory();
    const lab = await openLab(twoRouters({ nat: KERNEL_NAT }, {}), { seed: 1, captureFolder: folder.path });
    await reaches(lab, 'a', PUB);
    await lab.close();
    expect(readdirSync(folder.path).toSorted()).toEqual(['a.pcap', 'b.pcap', 'pub.pcap', 'ra.pcap', 'rb.pcap']);
    const text = execFileSync('tcpdump', ['-n', '-r', join(folder.path, 'ra.pcap')], {
      encoding: 'utf8',
      stdio: 'pipe',
    });
    expect(text).toContain('20.0.1.1 > 20.0.0.10: ICMP echo request');
  });
});

describe.skipIf(!able.ok)(`two NATs${why}`, () => {
  it.each([
    ['kernel', KERNEL_NAT],
    ['user space', { ...USER_NAT, filtering: 'address-and-port-dependent', ports: { kind: 'preserving' } }],
  ] as const)('let a hole be punched though each side sees an early packet: %s', async (_, nat) => {
    await using lab = await openLab(twoRouters({ nat }, { nat }), { seed: 1 });
    const punch = (node: string, other: string) =>
      run(
        lab,
        node,
        'sh',
        '-c',
        `for n in 1 2 3 4 5; do echo ${node}$n; sleep 0.1; done | socat -t1 - UDP4:${other}:7000,bind=:7000`,
      );
    const [a, b] = await Promise.all([punch('a', '20.0.2.1'), punch('b', '20.0.1.1')]);
    expect(a).toContain('b5');
    expect(b).toContain('a5');
  });
});

describe.skipIf(!able.ok)(`a firewall${why}`, () => {
  it('lets pass what its rules accept, drops and rejects the rest, and lets answers in', async () => {
    const rules = [
      { action: 'accept', to: 'outside', protocol: 'tcp', ports: [443] },
      { action: 'reject', to: 'outside', protocol: 'tcp', ports: [80] },
      { action: 'drop', to: 'outside' },
      { action: 'drop', from: 'outside' },
    ] as const;
    for (const nat of [KERNEL_NAT, USER_NAT]) {
      await using lab = await openLab(twoRouters({ nat, firewall: { rules } }, {}), { seed: 1 });
      for (const port of [443, 80, 81])
        lab.spawn('pub', ['socat', `TCP-LISTEN:${port},fork,reuseaddr`, 'SYSTEM:echo hello']);
      const dial = (port: number) =>
        run(
          lab,
          'a',
          'sh',
          '-c',
          `for i in 1 2 3; do socat -u TCP:${PUB}:${port},connect-timeout=0.4 - 2>&1 && break; sleep 0.1; done`,
        );
      expect(await dial(443)).toContain('hello');
      expect(await dial(80)).toContain('refused');
      expect(await dial(81)).toContain('timed out');
      expect(await reaches(lab, 'a', PUB)).toBe(false);
    }
  });
});

describe.skipIf(!able.ok)(`a lab that ends badly${why}`, () => {
  it('is taken away when it is aborted', async () => {
    const abort = new AbortController();
    const lab = await openLab(twoRouters({}, {}), { seed: 1, signal: abort.signal });
    abort.abort();
    await lab.close();
    expect(leftOf(lab.runId)).toEqual([]);
    await expect(openLab(twoRouters({}, {}), { seed: 1, signal: abort.signal })).rejects.toThrow('aborted');
  });

  it.each(['SIGKILL', 'SIGTERM'] as const)('is taken away when its process gets %s', async (signal) => {
    using folder = temporaryDirectory();
    const script = join(folder.path, 'open.ts');
    const imported = join(import.meta.dirname, '../src/world/open-lab.ts');
    const topology = JSON.stringify(twoRouters({ nat: KERNEL_NAT }, { nat: USER_NAT }));
    writeFileSync(
      script,
      `import { openLab } from '${imported}';
       const lab = await openLab(${topology}, { seed: 1 });
       lab.spawn('a', ['sh', '-c', 'setsid sleep 1000 & sleep 1000']);
       console.log(lab.runId); setInterval(() => {}, 1000);`,
    );
    const owner = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [text] = (await once(owner.stdout, 'data')) as [Buffer];
    const runId = text.toString().trim();
    expect(leftOf(runId)).toHaveLength(7);
    owner.kill(signal);
    await once(owner, 'exit');
    await until(() => leftOf(runId).length === 0, 'the lab to be taken away');
  });

  it('is swept by its record, and nothing else is', () => {
    const folder = join(tmpdir(), 'claw-lab', 'gone1');
    const names = ['claw-gone1-a', 'claw-gone1x-a'];
    for (const name of names) execFileSync('ip', ['netns', 'add', name]);
    try {
      mkdirSync(folder, { recursive: true });
      const record = { runId: 'gone1', pid: 2 ** 22 + 1, startTime: '1', namespaces: [names[0]], group: '/nowhere' };
      writeFileSync(join(folder, 'owner.json'), JSON.stringify(record));
      expect(sweepOrphans()).toContain('gone1');
      expect(names.map((name) => existsSync(`/run/netns/${name}`))).toEqual([false, true]);
      expect(existsSync(folder)).toBe(false);
    } finally {
      execFileSync('ip', ['netns', 'delete', names[1] ?? '']);
    }
  });

  it('says what is wrong with a topology or a run id, and makes nothing', async () => {
    const good = twoRouters({}, {});
    const cases: [Topology, string, string][] = [
      [{ ...good, networks: {} }, 'bad1', 'TOPOLOGY_INVALID'],
      [{ ...good, nodes: { 'a b': { kind: 'host', interfaces: {} } } }, 'bad2', 'LAB_TOPOLOGY_UNSUPPORTED'],
      [good, 'not an id', 'LAB_TOPOLOGY_UNSUPPORTED'],
    ];
    for (const [topology, runId, code] of cases) {
      await expect(openLab(topology, { seed: 1, runId })).rejects.toMatchObject({ code });
      expect(leftOf(runId)).toEqual([]);
    }
    await using lab = await openLab(good, { seed: 1, runId: 'twice' });
    await expect(openLab(good, { seed: 1, runId: lab.runId })).rejects.toMatchObject({ code: 'LAB_RUN_ID_IN_USE' });
    expect(await reaches(lab, 'a', '192.168.1.1')).toBe(true);
  });
});
