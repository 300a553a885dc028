/**
 * The statement that a key holder signs once per inner handshake: who it is,
 * to whom, in which session, over which outer connection, running what, when.
 * Fixed layout, every variable part length-prefixed, so no two statements
 * share their bytes.
 */

import { type NodeId, type Proof, type ProofRequest, publicKeyOf, type RuntimeFacts } from '@claw/contracts';
import { verifySignature } from './signature.ts';

/** The signed bytes of a proof by `prover`. */
export function proofStatement(prover: NodeId, request: ProofRequest, facts: RuntimeFacts): Buffer {
  const time = Buffer.alloc(8);
  time.writeBigUInt64BE(BigInt(request.timeMs));
  return Buffer.concat(
    [
      publicKeyOf(prover),
      publicKeyOf(request.peer),
      Buffer.from(request.role),
      request.channelBinding,
      request.nonce,
      time,
      Buffer.from(facts.integrity),
      Buffer.from(facts.version),
    ].flatMap((part) => [lengthPrefix(part.length), part]),
  );
}

/** True when `proof` was made by `prover` for exactly `request`. */
export function verifyProof(prover: NodeId, request: ProofRequest, proof: Proof): boolean {
  const statement = proofStatement(prover, request, proof.facts);
  return verifySignature(publicKeyOf(prover), 'proof', statement, proof.signature);
}

function lengthPrefix(length: number): Buffer {
  const prefix = Buffer.alloc(2);
  prefix.writeUInt16BE(length);
  return prefix;
}
