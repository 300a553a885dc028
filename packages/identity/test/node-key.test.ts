import { randomBytes, X509Certificate } from 'node:crypto';
import { nodeIdOf, publicKeyOf } from '@claw/contracts';
import { describe, expect, test } from 'vitest';
import { CLOCK_SKEW_MS, checkLeaf } from '../src/leaf-certificate.ts';
import { MAX_LEAF_LIFETIME_MS, NodeKey } from '../src/node-key.ts';
import { verifyProof } from '../src/proof.ts';
import { verifySignature } from '../src/signature.ts';

const facts = { integrity: 'ab'.repeat(32), version: '1.2.3' };
const makeKey = () => new NodeKey(randomBytes(32), facts);

describe('node key', () => {
  test('wipes the seed that it was made from', () => {
    const seed = randomBytes(32);
    new NodeKey(seed, facts);
    expect(seed.equals(Buffer.alloc(32))).toBe(true);
  });

  test('signature for one purpose does not verify for another', async () => {
    const key = makeKey();
    const message = Buffer.from('message');
    const signature = await key.sign('envelope', message);
    const publicKey = publicKeyOf(key.nodeId);
    expect(verifySignature(publicKey, 'envelope', message, signature)).toBe(true);
    expect(verifySignature(publicKey, 'invite', message, signature)).toBe(false);
    expect(verifySignature(publicKey, 'proof', message, signature)).toBe(false);
    expect(verifySignature(publicKey, 'envelope', Buffer.from('massage'), signature)).toBe(false);
    expect(verifySignature(publicKey, 'envelope', message, signature.subarray(1))).toBe(false);
  });

  test('sealing key is the same at every issue and never the node key', async () => {
    const key = makeKey();
    const [first, second] = [await key.issueSealingKey(), await key.issueSealingKey()];
    expect(first).toEqual(second);
    expect(nodeIdOf(first.publicKey)).not.toBe(key.nodeId);
  });

  test('refuses to work once closed', async () => {
    const key = makeKey();
    await key.close();
    await expect(key.sign('envelope', Buffer.alloc(1))).rejects.toMatchObject({ code: 'KEY_HOLDER_CLOSED' });
  });
});

describe('leaf certificate', () => {
  const issue = async (key: NodeKey) => new X509Certificate(await key.issueLeaf(randomBytes(32), 60_000));

  test('is accepted under the node key that issued it, while it lives', async () => {
    const key = makeKey();
    const leaf = await issue(key);
    const now = Date.now();
    expect(checkLeaf(leaf, key.nodeId, now)).toBeUndefined();
    expect(checkLeaf(leaf, key.nodeId, now + 60_000 + 2 * CLOCK_SKEW_MS)).toBe('expired');
    expect(checkLeaf(leaf, key.nodeId, now - 4 * CLOCK_SKEW_MS)).toBe('expired');
  });

  test('of another node is refused, also when it carries the right name', async () => {
    const [mine, other] = [makeKey(), makeKey()];
    const leaf = await issue(other);
    expect(checkLeaf(leaf, mine.nodeId, Date.now())).toBe('not-issued-by-peer');
    const forged = Buffer.from(leaf.raw.toString('latin1').replaceAll(other.nodeId, mine.nodeId), 'latin1');
    expect(checkLeaf(new X509Certificate(forged), mine.nodeId, Date.now())).toBe('not-issued-by-peer');
  });

  test('lives fifteen minutes at the most', async () => {
    await expect(makeKey().issueLeaf(randomBytes(32), MAX_LEAF_LIFETIME_MS + 1)).rejects.toThrow(RangeError);
    await expect(makeKey().issueLeaf(randomBytes(31), 1000)).rejects.toThrow(RangeError);
  });

  test('serials differ and are positive', async () => {
    const key = makeKey();
    const leaves = await Promise.all(Array.from({ length: 50 }, () => issue(key)));
    expect(new Set(leaves.map((leaf) => leaf.serialNumber)).size).toBe(50);
  });
});

describe('proof', () => {
  const request = (peer: NodeKey) => ({
    channelBinding: Buffer.alloc(32, 1),
    role: 'client' as const,
    peer: peer.nodeId,
    nonce: Buffer.alloc(32, 2),
    timeMs: 1_700_000_000_000,
  });

  test('holds for exactly what was asked', async () => {
    const [prover, verifier] = [makeKey(), makeKey()];
    const asked = request(verifier);
    const proof = await prover.prove(asked);
    expect(verifyProof(prover.nodeId, asked, proof)).toBe(true);
    expect(verifyProof(verifier.nodeId, asked, proof)).toBe(false);
    expect(verifyProof(prover.nodeId, { ...asked, role: 'server' }, proof)).toBe(false);
    expect(verifyProof(prover.nodeId, { ...asked, nonce: Buffer.alloc(32, 3) }, proof)).toBe(false);
    expect(verifyProof(prover.nodeId, { ...asked, channelBinding: Buffer.alloc(32) }, proof)).toBe(false);
    expect(verifyProof(prover.nodeId, { ...asked, timeMs: asked.timeMs + 1 }, proof)).toBe(false);
    expect(verifyProof(prover.nodeId, { ...asked, peer: prover.nodeId }, proof)).toBe(false);
    const lied = { ...proof, facts: { ...proof.facts, version: '9.9.9' } };
    expect(verifyProof(prover.nodeId, asked, lied)).toBe(false);
  });
});
