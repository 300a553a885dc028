/** Daemons and a relay that die without a word, at moments that a seed chooses. */

import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { seededRandom } from '@claw/testkit';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { eventually, kill, type Machine, Machines } from './machines.ts';

const FILE_BYTES = 64 * 1024 * 1024;
const SEED = Number(process.env['CLAW_SEED'] ?? Date.now() % 1_000_000);
const random = seededRandom(SEED);
const machines = new Machines();
afterEach(() => machines.end());
afterAll(() => machines[Symbol.asyncDispose]());
console.log(`seed ${SEED} (CLAW_SEED repeats it)`);

/** Every file of the home that is JSON can be read, whenever one looks. */
function expectWholeFiles({ home }: Machine): void {
  for (const name of ['node-key.json', 'peers.json', 'invites.json', 'run/gateway.json']) {
    const path = join(home, name);
    if (existsSync(path)) expect(() => JSON.parse(readFileSync(path, 'utf8')), path).not.toThrow();
  }
}

async function crash(machine: Machine): Promise<void> {
  kill(machine.pid, 'SIGKILL');
  expectWholeFiles(machine);
  await machine.ok('up');
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

function inboxFiles({ home }: Machine): string[] {
  const folder = join(home, 'inbox');
  return existsSync(folder)
    ? readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
        statSync(join(folder, name), { throwIfNoEntry: false })?.isFile(),
      )
    : [];
}

function partBytes(machine: Machine): number {
  const part = inboxFiles(machine).find((name) => name.startsWith('.partial'));
  return part === undefined ? 0 : (statSync(join(machine.home, 'inbox', part), { throwIfNoEntry: false })?.size ?? 0);
}

describe('a daemon that is killed', () => {
  it('while a file is sent costs no byte: the transfer goes on and the hash is right', {
    timeout: 120_000,
  }, async () => {
    const { a: receiver, b: sender } = await machines.pair();
    const bytes = randomBytes(FILE_BYTES);
    const path = join(sender.home, '../big.bin');
    writeFileSync(path, bytes);
    const run = async (victim: Machine, witness: Machine, round: number) => {
      const sending = sender.start(['send', '--json', 'a', path]);
      // The moment: somewhere in the next fifth of the file, as the receiver's disk has it.
      const share = 0.2 * (round + random.fraction());
      await eventually(
        () => partBytes(receiver) >= share * FILE_BYTES || undefined,
        () => `round ${round}: ${share} of the file`,
      );
      const before = witness.log().length;
      const crashed = crash(victim);
      const ended = await eventually(
        () =>
          witness
            .log()
            .slice(before)
            .find(({ event }) => event === 'link.ended'),
        () => `round ${round}: ${witness.name} to notice`,
        30_000,
      );
      expect(ended.code).toMatch(/^LINK_/);
      await crashed;
      return sending;
    };
    for (let round = 0; round < 3; round += 1) {
      const sending = await run(sender, receiver, round);
      expect(await sending.exited, `seed ${SEED}, round ${round}`).not.toBe(0); // its daemon is gone
      await Promise.all([sender.linked('a'), receiver.linked('b')]);
    }
    const surviving = await run(receiver, sender, 3);
    expect(await surviving.exited, `seed ${SEED}: ${surviving.stdout}`).toBe(0);
    const [sent] = JSON.parse(surviving.stdout).files;
    const stored = readFileSync(join(receiver.home, 'inbox/b', sent.storedAs));
    expect(createHash('sha256').update(stored).digest('hex')).toBe(createHash('sha256').update(bytes).digest('hex'));
    expect(inboxFiles(receiver)).toEqual(['b/big.bin']);
    expect(sent.resumedAt, `seed ${SEED}`).toBeGreaterThan(0);
  });

  it('and stays dead is reported by the other side, with a reason', { timeout: 60_000 }, async () => {
    const { a, b } = await machines.pair();
    kill(b.pid, 'SIGKILL');
    const lost = await eventually(
      async () => (await a.peer('b'))?.lastError ?? undefined,
      () => 'the loss',
      40_000,
    );
    expect(lost).toEqual({ code: 'LINK_LOST', message: expect.any(String) });
    expect((await a.claw(['doctor'])).json.checks).toContainEqual(
      expect.objectContaining({ name: 'peer b', state: 'warn' }),
    );
  });

  it('while it pairs leaves whole files, and the same invite still pairs', { timeout: 120_000 }, async () => {
    const { url } = await machines.relay();
    const [inviter, joiner] = [machines.make('inviter', { relays: [url] }), machines.make('joiner')];
    await Promise.all([inviter.ok('up'), joiner.ok('up')]);
    for (let round = 0; round < 6; round += 1) {
      const { invite } = await inviter.api('POST', '/v1/invites', { name: 'joiner' });
      const victim = round % 2 === 0 ? inviter : joiner;
      const joining = joiner.api('POST', '/v1/pair', { invite, name: 'inviter' }).catch((error: unknown) => error);
      await pause(random.fraction() * 60);
      await crash(victim);
      await joining;
      const again = await joiner.api('POST', '/v1/pair', { invite, name: 'inviter' });
      expect(again.name, `seed ${SEED}, round ${round}`).toBe('inviter');
      const [left, right] = await Promise.all([joiner.linked('inviter'), inviter.linked('joiner')]);
      expect(left.words, `seed ${SEED}, round ${round}`).toBe(right.words);
      await joiner.api('DELETE', '/v1/peers/inviter');
      await eventually(
        async () => ((await inviter.peer('joiner'))?.state === 'removed-by-peer' ? true : undefined),
        () => 'the word of it',
      );
      await inviter.api('DELETE', '/v1/peers/joiner');
    }
  });
});

describe('a relay that is killed', () => {
  it('costs no link, and signaling comes back with it', { timeout: 60_000 }, async () => {
    const { a, b, relay, url } = await machines.pair();
    const { linksMade } = await a.linked('b');
    await relay.end('SIGKILL');
    const carrier = async (machine: Machine) =>
      (await machine.api('GET', '/v1/status')).carriers.find(({ name }: { name: string }) => name.startsWith('relay'));
    await eventually(
      async () => ((await carrier(a)).state !== 'up' && (await carrier(b)).state !== 'up') || undefined,
      () => 'both to notice',
    );
    expect((await a.api('POST', '/v1/peers/b/ping', { count: 3 })).roundTripsMs).toHaveLength(3);
    await machines.relay(Number(new URL(url).port));
    await eventually(
      async () => ((await carrier(a)).state === 'up' && (await carrier(b)).state === 'up') || undefined,
      () => 'signaling',
      40_000,
    );
    expect((await a.linked('b')).linksMade).toBe(linksMade);
    await crash(b); // a new link needs signaling
    await Promise.all([a.linked('b'), b.linked('a')]);
  });
});
