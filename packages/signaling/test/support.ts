/** Nodes, envelopes and numbers that the tests of this package share. */

import { createSocket } from 'node:dgram';
import { type KeyHolder, type NodeId, publicKeyOf, type SealingKey } from '@claw/contracts';
import { createFakeKeyHolder } from '@claw/testkit';
import { createEnvelopeReader, type EnvelopeContent, type EnvelopeReader, type Recipient } from '../src/envelope.ts';

export interface TestNode {
  readonly keyHolder: KeyHolder;
  readonly nodeId: NodeId;
  readonly publicKey: Buffer;
  readonly sealingKey: SealingKey;
  readonly reader: EnvelopeReader;
  readonly recipient: Recipient;
}

export async function createNode(): Promise<TestNode> {
  const keyHolder = createFakeKeyHolder();
  const sealingKey = await keyHolder.issueSealingKey();
  const { nodeId } = keyHolder;
  return {
    keyHolder,
    nodeId,
    publicKey: publicKeyOf(nodeId),
    sealingKey,
    reader: createEnvelopeReader(nodeId, sealingKey),
    recipient: { to: nodeId, sealingKey: sealingKey.publicKey },
  };
}

/** 2026-01-01 UTC, where the virtual clock starts. */
export const NOW = 1_767_225_600_000;

export function makeContent(changes: Partial<EnvelopeContent> = {}): EnvelopeContent {
  return { kind: 'offer', body: Buffer.from('hello'), sequence: 1, expiresAtMs: NOW + 30_000, ...changes };
}

/** The error that `work` ends in. */
export async function failureOf(work: () => unknown): Promise<unknown> {
  try {
    await work();
  } catch (error) {
    return error;
  }
  throw new Error('it did not fail');
}

/** A UDP port of the loopback interface on which nobody listens. */
export async function freeUdpPort(): Promise<number> {
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  const { port } = socket.address();
  await new Promise<void>((resolve) => socket.close(() => resolve()));
  return port;
}
