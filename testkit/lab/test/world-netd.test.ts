import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { seededRandom } from '@claw/testkit';
import { describe, expect, it } from 'vitest';
import { canUseLab } from '../src/world/can-use-lab.ts';
import { finished } from '../src/world/command.ts';
import { formatLink } from '../src/world/link-line.ts';
import { nativeProgram } from '../src/world/native.ts';

const able = canUseLab();
const why = able.ok ? '' : ` (skipped: ${able.reason})`;

/** What netd answers to lines; it is given nothing to make an interface in. */
async function answers(input: string | Buffer): Promise<string[]> {
  const child = spawn(nativeProgram('netd'), { stdio: ['pipe', 'pipe', 'pipe'] });
  return (await finished(child, 'netd', input)).split('\n').slice(0, -1);
}

describe.skipIf(!able.ok)(`netd${why}`, () => {
  it('refuses bad lines with a reason and goes on', async () => {
    const lines = [
      'dance',
      '',
      'link',
      'link 0 up',
      'link -1 up',
      'interface',
      'interface /run/netns/none eth0 0 0 1500',
      'interface /proc/self/ns/net name-that-is-far-too-long 0 0 1500',
      'interface /proc/self/ns/net x 0 0 9999999',
      'sysctl /proc/self/ns/net kernel/panic 1',
      'sysctl /proc/self/ns/net net/../kernel/panic 1',
      'partition 1 x',
      'stats 0',
      'seed many',
      'x'.repeat(10_000),
      'zero\0byte',
      'heal',
    ];
    const said = await answers(`${lines.join('\n')}\n`);
    expect(said).toHaveLength(lines.length);
    expect(said.slice(0, -1).every((line) => line.startsWith('error '))).toBe(true);
    expect(said.at(-1)).toBe('ok');
  });

  it('answers each of many random lines and does not crash', async () => {
    const random = seededRandom(11);
    const words = [
      'link',
      'interface',
      'partition',
      'stats',
      'seed',
      'heal',
      '0',
      '-1',
      'up',
      'loss=1e9',
      'ge=1,1',
      '=',
      'nan',
      '%s%n',
    ];
    const pick = () => words[Math.floor(random.fraction() * words.length)] ?? '';
    const lines = Array.from({ length: 3000 }, (_, round) =>
      round % 3 === 0
        ? random.bytes(round % 64).map((byte) => (byte === 10 ? 11 : byte))
        : Buffer.from(Array.from({ length: round % 9 }, pick).join(' ')),
    );
    // Heal is the last, to see that netd was there until the end.
    const input = Buffer.concat([...lines, Buffer.from('heal')].flatMap((line) => [line, Buffer.from('\n')]));
    const said = await answers(input);
    expect(said.at(-1)).toBe('ok');
    expect(said).toHaveLength(lines.length + 1);
  });

  it('ends with the end of its input', async () => {
    const child = spawn(nativeProgram('netd'), { stdio: ['pipe', 'ignore', 'inherit'] });
    child.stdin.end();
    expect(await once(child, 'exit')).toEqual([0, null]);
  });
});

describe('a link in words', () => {
  it('has every setting, and a queue of twice the delay by default', () => {
    expect(formatLink({})).toBe('');
    expect(formatLink({ rateBitsPerSecond: 1e8, delayMs: 50 })).toBe('rate=100000000 queue=1250000 delay=50000000');
    expect(formatLink({ rateBitsPerSecond: 1e6 })).toBe('rate=1000000 queue=32768');
    expect(
      formatLink({
        tokenBucket: { rateBitsPerSecond: 2e6, burstBytes: 9000 },
        queueBytes: 1,
        jitterMs: 0.5,
        loss: { model: 'gilbert-elliott', goodToBad: 0.01, badToGood: 0.5, lossInGood: 0, lossInBad: 1 },
        reorder: { share: 1e-7, holdMs: 3 },
        duplicateShare: 0.1,
        corruptShare: 0.2,
        dropAboveBytes: 1280,
      }),
    ).toBe(
      'above=1280 ge=0.01,0.5,0,1 corrupt=0.2 duplicate=0.1 bucket=2000000,9000 queue=1 jitter=500000 reorder=0.0000001,3000000',
    );
  });
});
