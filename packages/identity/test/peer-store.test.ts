import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nodeIdOf } from '@claw/contracts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type PeerRecord, PeerStore } from '../src/peer-store.ts';

const record = (name: string, change: Partial<PeerRecord> = {}): PeerRecord => ({
  id: nodeIdOf(randomBytes(32)),
  name,
  sealingKey: randomBytes(32).toString('base64'),
  relays: [],
  grants: ['send'],
  words: 'one two three four',
  pairedAtMs: 1,
  confirmed: true,
  state: 'paired',
  ...change,
});

describe('peer store', () => {
  let home: string;
  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'claw-peers-'));
  });
  afterEach(() => rm(home, { recursive: true, force: true }));

  test('finds by name, by id and by the beginning of an id', async () => {
    const store = await PeerStore.open(home);
    const peer = record('laptop');
    await store.put(peer);
    expect(store.find('laptop').id).toBe(peer.id);
    expect(store.find(peer.id).name).toBe('laptop');
    expect(store.find(peer.id.slice(0, 8)).name).toBe('laptop');
    expect(() => store.find('desktop')).toThrow(expect.objectContaining({ code: 'PEER_UNKNOWN' }));
    expect(() => store.find(peer.id.slice(0, 5))).toThrow(expect.objectContaining({ code: 'PEER_UNKNOWN' }));
  });

  test('keeps every one of many changes at once', async () => {
    const store = await PeerStore.open(home);
    const peers = Array.from({ length: 20 }, (_, index) => record(`peer-${index}`));
    await Promise.all(peers.map((peer) => store.put(peer)));
    await Promise.all(peers.map((peer) => store.update(peer.id, { confirmed: false })));
    const again = await PeerStore.open(home);
    expect(
      again
        .list()
        .map((peer) => peer.name)
        .sort(),
    ).toEqual(peers.map((peer) => peer.name).sort());
    expect(again.list().every((peer) => !peer.confirmed)).toBe(true);
  });

  test('hides removed peers but remembers them', async () => {
    const store = await PeerStore.open(home);
    const peer = record('gone');
    await store.put(peer);
    await store.update(peer.id, { state: 'removed' });
    expect(store.list()).toEqual([]);
    expect(store.get(peer.id)?.state).toBe('removed');
    expect(store.freeName('gone', nodeIdOf(randomBytes(32)))).toBe('gone');
  });

  test('gives a free name to a peer whose name is taken or unusable', async () => {
    const store = await PeerStore.open(home);
    await store.put(record('box'));
    const id = nodeIdOf(randomBytes(32));
    expect(store.freeName('box', id)).toBe('box-2');
    expect(store.freeName('../../etc', id)).toBe(`peer-${id.slice(0, 6)}`);
  });

  test('refuses a broken file and leaves it alone', async () => {
    const path = join(home, 'peers.json');
    await writeFile(path, '{"version":1,"peers":[{}]}');
    await expect(PeerStore.open(home)).rejects.toMatchObject({ code: 'PEERS_FILE_INVALID' });
    expect(await readFile(path, 'utf8')).toBe('{"version":1,"peers":[{}]}');
  });

  test('does not take in a record that its own file could not hold', async () => {
    const store = await PeerStore.open(home);
    await expect(store.put(record('bad name!'))).rejects.toThrow('Invalid format');
    expect(store.list()).toEqual([]);
  });
});
