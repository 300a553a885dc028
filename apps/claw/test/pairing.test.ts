import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { eventually, Machines, type RunningCommand } from './machines.ts';

const machines = new Machines();
afterEach(() => machines.end());
afterAll(() => machines[Symbol.asyncDispose]());

const WORDS = /same words: (\w+ \w+ \w+ \w+)/;

describe('claw pair', () => {
  it('joins two machines by a relay, with the same words on both and a link', async () => {
    const { url } = await machines.relay();
    const [a, b] = [machines.make('a'), machines.make('b')];
    const inviting = a.start(['pair', '--new', '--name', 'cloud', '--relay', url]);
    const [, invite = ''] = await inviting.said(/claw pair (CLAW:\S+)/);
    expect(invite).toMatch(/^CLAW:[A-Z2-7]+$/);
    const joined = await b.claw(['pair', '-'], {
      stdin: `  ${invite.toLowerCase().slice(0, 40)}\n${invite.slice(40)}\n`,
    });
    expect([joined.code, joined.json]).toEqual([
      0,
      expect.objectContaining({ name: 'a', confirmed: true, grants: ['send'], relays: [url] }),
    ]);
    expect(await inviting.exited).toBe(0);
    expect(WORDS.exec(inviting.stdout)?.[1]).toBe(joined.json.words);
    const link = await b.linked('a');
    expect(link.link).toMatchObject({
      handshake: { cipher: expect.any(String), peerVersion: expect.any(String) },
      warnings: expect.any(Array),
    });
    expect((await a.linked('cloud')).confirmed).toBe(true);
    expect(await b.ok('ping', 'a', '-c', '3')).toEqual({
      peer: 'a',
      roundTripsMs: [expect.any(Number), expect.any(Number), expect.any(Number)],
    });
    expect(JSON.parse(readFileSync(join(a.home, 'claw.json'), 'utf8').replace(/^\/\/.*$/gm, '')).relays).toEqual([url]);
  });

  it('joins two machines on one local network without a relay', async () => {
    const [a, b] = [machines.make('a', { lan: true }), machines.make('b', { lan: true })];
    await Promise.all([a.ok('up'), b.ok('up')]);
    const { invite, reach } = await a.ok('pair', '--new');
    expect(reach).toEqual(['lan']);
    expect(await b.ok('pair', invite)).toMatchObject({ name: 'a' });
    await Promise.all([a.linked('b'), b.linked('a')]);
  });

  it('refuses an invite that was used, altered, or is its own, each with its code', async () => {
    const { url } = await machines.relay();
    const [a, b, c] = [machines.make('a', { relays: [url] }), machines.make('b'), machines.make('c')];
    const { invite } = await a.ok('pair', '--new');
    await b.ok('pair', invite);
    const flipped = invite.replace(/.$/, (last: string) => (last === 'A' ? 'B' : 'A'));
    const outcomes = [await c.claw(['pair', invite]), await c.claw(['pair', flipped]), await a.claw(['pair', invite])];
    expect(outcomes.map(({ code, json }) => [code, json.error.code])).toEqual([
      [5, 'PAIR_INVITE_USED'],
      [7, 'PAIR_INVITE_ALTERED'],
      [7, 'PAIR_INVITE_OWN'],
    ]);
    expect(await c.ok('peers')).toEqual([]);
    const again = await b.ok('pair', invite); // its own answer may have been lost
    expect(again.name).toBe('a');
  });

  it('ends with 130 and one document when it is interrupted', async () => {
    const { url } = await machines.relay();
    const [a, b] = [machines.make('a', { relays: [url] }), machines.make('b')];
    const { invite } = await a.ok('pair', '--new');
    await a.ok('down');
    const joining = b.start(['pair', '--json', invite]);
    await joining.said(/Pairing/);
    expect(await joining.end('SIGINT')).toBe(130);
    expect(JSON.parse(joining.stdout).error.code).toBe('INTERRUPTED');
  });
});

describe('claw unpair', () => {
  it('cuts a live stream at once on both sides, and both know of it', async () => {
    const { a, b } = await machines.pair();
    await a.ok('share', 'cat', '--mcp', 'cat', '--to', 'b');
    const stream = b.start(['mcp', 'a/cat']);
    stream.process.stdin.write('hello\n');
    await stream.said(/hello/);
    expect(await a.ok('unpair', 'b')).toEqual({ unpaired: 'b', nodeId: expect.any(String) });
    await stream.exited;
    expect(
      (
        await eventually(
          async () => ((await b.peer('a'))?.state === 'removed-by-peer' ? b.peer('a') : undefined),
          () => 'the word of it',
        )
      )?.link,
    ).toBeNull();
    expect(await a.ok('peers')).toEqual([]);
    expect((await a.ok('share'))[0]).toMatchObject({ name: 'cat', to: [], openStreams: 0 });
    expect(await b.ok('unpair', 'a')).toMatchObject({ unpaired: 'a' });
    expect(await b.ok('peers')).toEqual([]);
  });
});

describe('claw pair --by-hand', () => {
  it('joins two machines between which people carry every text, seconds late', { timeout: 90_000 }, async () => {
    const [a, b] = [machines.make('a'), machines.make('b')];
    const inviting = a.start(['pair', '--new', '--by-hand']);
    const [, invite = ''] = await inviting.said(/claw pair (CLAW:\S+)/);
    const joining = b.start(['pair', '--by-hand', invite]);
    const carried = [carry(inviting, joining, 3000), carry(joining, inviting, 3000)];
    const codes = await Promise.all([ended(inviting), ended(joining)]);
    for (const { stop } of carried) stop();
    expect(codes).toEqual([0, 0]);
    expect(WORDS.exec(inviting.stdout)?.[1]).toBe(WORDS.exec(joining.stdout)?.[1]);
    expect([inviting.stdout, joining.stdout].map((text) => /Linked with (\w)/.exec(text)?.[1])).toEqual(['b', 'a']);
    await Promise.all([a.linked('b'), b.linked('a')]);
    expect(Math.max(...carried.map(({ count }) => count()))).toBeLessThanOrEqual(5);
  });

  it('says what is wrong with a text that is none', async () => {
    const a = machines.make('a');
    const inviting = a.start(['pair', '--new', '--by-hand']);
    await inviting.said(/By hand: paste/);
    inviting.process.stdin.write('hello?\n');
    await inviting.said(/Not taken: The text does not begin with/);
  });
});

/** A person who reads each text off one screen and pastes it at the other machine `delayMs` later, one after the other. */
function carry(from: RunningCommand, to: RunningCommand, delayMs: number): { stop: () => void; count: () => number } {
  let seen = 0;
  let at = 0;
  const timer = setInterval(() => {
    const texts = [...from.stderr.matchAll(/^claw-envelope:\S+$/gm)];
    for (const [text] of texts.slice(seen)) {
      at = Math.max(at, performance.now()) + delayMs;
      setTimeout(() => to.process.stdin.write(`${text}\n`), at - performance.now());
    }
    seen = texts.length;
  }, 20);
  return { stop: () => clearInterval(timer), count: () => seen };
}

async function ended(command: RunningCommand): Promise<number | null> {
  const timer = setTimeout(() => command.process.kill('SIGKILL'), 80_000);
  return command.exited.finally(() => clearTimeout(timer));
}
