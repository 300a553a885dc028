/**
 * Where the two nodes and the relay live: three network namespaces, A and B
 * joined by the relay's as a router, or this machine's loopback where namespaces
 * may not be made. Whatever was made is taken away again.
 */

import { execFileSync, type SpawnOptions, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';

export type Place = 'a' | 'b' | 'relay';

export interface World {
  /** For people. */
  readonly description: string;
  /** Host under which the nodes reach the relay. */
  readonly relayHost: string;
  /** The command line that runs `command` at `place`. */
  at(place: Place, command: readonly string[]): string[];
  close(): void;
}

export function openWorld(): World {
  return canMakeNamespaces() ? openNamespaces() : openLoopback();
}

/** Starts a process at a place. */
export function start(world: World, place: Place, command: readonly string[], options: SpawnOptions) {
  const [program = '', ...args] = world.at(place, command);
  return spawn(program, args, options);
}

function openLoopback(): World {
  return {
    description: 'two nodes on the loopback interface (no permission to make network namespaces)',
    relayHost: '127.0.0.1',
    at: (_, command) => [...command],
    close: () => {},
  };
}

function openNamespaces(): World {
  const run = randomBytes(2).toString('hex');
  const name = (place: Place) => `claw-${run}-${place}`;
  const close = () => {
    for (const place of ['a', 'b', 'relay'] as const)
      spawnSync('ip', ['netns', 'delete', name(place)], { stdio: 'ignore' });
  };
  try {
    for (const place of ['a', 'b', 'relay'] as const) {
      ip('netns', 'add', name(place));
      ip('-n', name(place), 'link', 'set', 'lo', 'up');
    }
    joinToRouter(name('a'), name('relay'), `v${run}a`, '10.81.1');
    joinToRouter(name('b'), name('relay'), `v${run}b`, '10.81.2');
    execFileSync('ip', ['netns', 'exec', name('relay'), 'sysctl', '-qw', 'net.ipv4.ip_forward=1']);
  } catch (error) {
    close();
    throw error;
  }
  return {
    description: `two nodes in network namespaces of their own (${name('a')}, ${name('b')}), a third between them as router`,
    relayHost: '10.81.1.1',
    at: (place, command) => ['ip', 'netns', 'exec', name(place), ...command],
    close,
  };
}

/** One cable from a host to the router; the host's default route leads there. */
function joinToRouter(host: string, router: string, cable: string, net: string): void {
  ip('link', 'add', `${cable}0`, 'netns', host, 'type', 'veth', 'peer', 'name', `${cable}1`, 'netns', router);
  ip('-n', host, 'address', 'add', `${net}.2/24`, 'dev', `${cable}0`);
  ip('-n', router, 'address', 'add', `${net}.1/24`, 'dev', `${cable}1`);
  ip('-n', host, 'link', 'set', `${cable}0`, 'up');
  ip('-n', router, 'link', 'set', `${cable}1`, 'up');
  ip('-n', host, 'route', 'add', 'default', 'via', `${net}.1`);
}

function canMakeNamespaces(): boolean {
  const name = `claw-probe-${process.pid}`;
  const made = spawnSync('ip', ['netns', 'add', name], { stdio: 'ignore' }).status === 0;
  if (made) spawnSync('ip', ['netns', 'delete', name], { stdio: 'ignore' });
  return made;
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}
