import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { publicKeyOf } from '@claw/contracts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CertificatePool } from '../src/certificate-pool.ts';
import { measureRuntime } from '../src/integrity.ts';
import { openKeyHolder } from '../src/key-holder.ts';
import { verifySignature } from '../src/signature.ts';

describe('key-holder process', () => {
  let home: string;
  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'claw-holder-'));
  });
  afterEach(() => rm(home, { recursive: true, force: true }));

  test('signs, issues and proves, with the same identity after a restart', async () => {
    await using first = await openKeyHolder({ home });
    expect(first.created).toBe(true);
    const signature = await first.sign('envelope', Buffer.from('hello'));
    expect(verifySignature(publicKeyOf(first.nodeId), 'envelope', Buffer.from('hello'), signature)).toBe(true);
    expect(first.facts).toEqual(measureRuntime());
    await first.close();
    await using second = await openKeyHolder({ home });
    expect(second.nodeId).toBe(first.nodeId);
    expect(second.created).toBe(false);
    await using pool = new CertificatePool({ keyHolder: second });
    expect(await pool.take()).toBeDefined();
  });

  test.skipIf(process.platform !== 'linux')('has no way to the network and cannot be traced', async () => {
    await using holder = await openKeyHolder({ home });
    expect(holder.confinement).toMatchObject({ seccomp: true, undumpable: true });
    const status = readFileSync(`/proc/${holder.pid}/status`, 'utf8');
    expect(status).toMatch(/^Seccomp:\s+2$/m);
    expect(status).toMatch(/^NoNewPrivs:\s+1$/m);
  });

  test('that is killed fails what waits and says so once', async () => {
    const exits: Error[] = [];
    const holder = await openKeyHolder({ home, onExit: (error) => exits.push(error) });
    const pending = holder.sign('envelope', Buffer.alloc(10)).catch((error: unknown) => error);
    process.kill(holder.pid as number, 'SIGKILL');
    await pending;
    await expect.poll(() => exits.length).toBe(1);
    await expect(holder.sign('envelope', Buffer.alloc(1))).rejects.toMatchObject({ code: 'KEY_HOLDER_CLOSED' });
    await holder.close();
    expect(exits).toHaveLength(1);
  });

  test('reports why a key cannot be opened', async () => {
    const unlock = { protection: 'passphrase', passphrase: 'one' } as const;
    await (await openKeyHolder({ home, unlock })).close();
    await expect(openKeyHolder({ home })).rejects.toMatchObject({ code: 'KEY_PASSPHRASE_REQUIRED' });
    const wrong = { protection: 'passphrase', passphrase: 'two' } as const;
    await expect(openKeyHolder({ home, unlock: wrong })).rejects.toMatchObject({ code: 'KEY_PASSPHRASE_WRONG' });
  });

  test('answers a malformed request with an error and lives on', async () => {
    await using holder = await openKeyHolder({ home });
    await expect(holder.issueLeaf(Buffer.alloc(5), 1000)).rejects.toMatchObject({ code: 'KEY_HOLDER_FAILED' });
    await expect(holder.sign('envelope', Buffer.alloc(1024 * 1024))).rejects.toMatchObject({
      code: 'KEY_HOLDER_FAILED',
    });
    expect(await holder.sign('envelope', Buffer.alloc(1))).toHaveLength(64);
  });
});
