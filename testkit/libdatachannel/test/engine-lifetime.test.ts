import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createNodeDataChannelEngine } from '../src/index.ts';
import { heldConnections } from '../src/native-lifetime.ts';

const engine = createNodeDataChannelEngine({ bindAddress: '127.0.0.1' });

async function openAndClose(): Promise<void> {
  const left = engine.createPeerConnection({});
  const right = engine.createPeerConnection({});
  const channels = [left, right].map((end) => end.createDataChannel('0', { negotiated: true, id: 0 }));
  const heard = new Promise<void>((resolve) => {
    for (const channel of channels) {
      channel.onopen = () => channel.send(Buffer.from('hello'));
      channel.onmessage = () => resolve();
    }
  });
  // A set-up in a few hundred fails inside the library (facts: "unknown CA"); here only the freeing counts.
  const ended = new Promise<void>((resolve) => {
    for (const end of [left, right]) end.onconnectionstatechange = () => end.connectionState === 'closed' && resolve();
  });
  try {
    await right.setRemoteDescription(await left.setLocalDescription());
    await left.setRemoteDescription(await right.setLocalDescription());
    await Promise.race([heard, ended]);
  } finally {
    left.close();
    right.close();
  }
}

async function allFreed(): Promise<void> {
  while (heldConnections() > 0) await new Promise((resolve) => setTimeout(resolve, 5));
}

const count = (folder: string) => (process.platform === 'linux' ? readdirSync(`/proc/self/${folder}`).length : 0);

test('two hundred connections opened and closed leave no handle, thread or memory behind', async () => {
  const cycles = async (rounds: number) => {
    for (let round = 0; round < rounds; round += 1) {
      await Promise.all(Array.from({ length: 5 }, () => openAndClose().catch(() => undefined)));
    }
    await allFreed();
    globalThis.gc?.();
    return { files: count('fd'), threads: count('task'), all: process.memoryUsage.rss() };
  };
  const warm = await cycles(12);
  const after = await cycles(40);
  expect(after.files).toBeLessThanOrEqual(warm.files + 2);
  expect(after.threads).toBeLessThanOrEqual(warm.threads + 2);
  // 200 leaked ends would weigh over 100 MB (0.27 MB each and end, by the facts, and their buffers).
  expect(after.all - warm.all).toBeLessThan(40 * 1024 * 1024);
}, 120_000);

test('a connection that was never described is freed', async () => {
  const connection = engine.createPeerConnection({});
  connection.createDataChannel('0', { negotiated: true, id: 0 });
  connection.close();
  await allFreed();
  expect(connection.connectionState).toBe('closed');
});

test.each(['ends by itself once closed', 'exits with connections open', 'throws with connections open'])(
  'a process %s without a crash or a wait',
  // The library fails a few set-ups in a hundred: see engine-compliance.test.ts.
  { retry: 3 },
  (what) => {
    const started = performance.now();
    const done = spawnSync(process.execPath, [join(import.meta.dirname, 'engine-process.ts'), what], {
      encoding: 'utf8',
    });
    expect(done.signal).toBeNull();
    expect(done.stdout).toContain('connected');
    expect(done.status).toBe(what.startsWith('throws') ? 1 : 0);
    expect(performance.now() - started).toBeLessThan(8000);
  },
);
