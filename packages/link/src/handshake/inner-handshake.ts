/**
 * The inner mutual handshake: TLS 1.3 (RFC 8446) by the platform over ephemeral
 * certificates issued by both node keys, then one claim in each direction. The
 * client is the offerer. Order, and who refuses what:
 *
 *   TLS flights → each side checks that the other's leaf was issued by the
 *   expected node key → client claim → server checks it → server claim → client
 *   checks it → both hold the same exporter secrets, bound to the outer connection.
 *
 * Each side's proof is asked of the key holder as soon as the flights that it
 * covers are known, while TLS and the outer connection are at work, and is said
 * when its turn comes. Nothing of the application moves here. Bytes go in and out as segments; the
 * caller chooses the ways.
 */

import { Duplex } from 'node:stream';
import { connect, type SecureContext, TLSSocket } from 'node:tls';
import { type ClawError, type Clock, equalBytes, errorText, isClawError } from '@claw/base';
import { type KeyHolder, type NodeId, nodeIdOf, publicKeyOf, type RuntimeFacts } from '@claw/contracts';
import { checkLeaf, verifyProof } from '@claw/identity';
import { linkError } from '../errors.ts';
import { proofContext } from './channel-binding.ts';
import { type Claim, ClaimReader, encodeClaim } from './claim.ts';
import { FlightReader, FlightWriter, type Segment } from './flight-buffer.ts';
import { checkPolicy, type LinkPolicy, PROTOCOL_VERSION } from './link-policy.ts';
import type { NonceBook } from './nonce-book.ts';

export interface InnerHandshakeOptions {
  readonly role: 'client' | 'server';
  readonly peer: NodeId;
  readonly keyHolder: KeyHolder;
  /** Over a fresh ephemeral leaf of this node. */
  readonly context: SecureContext;
  readonly policy: LinkPolicy;
  readonly nonces: NonceBook;
  readonly clock: Clock;
  /** New bytes for the peer. */
  readonly onSegment: (segment: Segment) => void;
}

export interface HandshakeResult {
  readonly secrets: { readonly send: Buffer; readonly receive: Buffer };
  readonly peerFacts: RuntimeFacts;
  readonly warnings: readonly string[];
  readonly cipher: string;
  readonly keyExchange: string;
}

/** What is known once both descriptions are: see channel-binding.ts. */
export interface HandshakeContext {
  readonly binding: Buffer;
  /** Minted by this side's {@link NonceBook}; the peer answers it. */
  readonly ownNonce: Uint8Array;
  readonly peerNonce: Uint8Array;
}

const EXPORTER_LABEL = 'EXPORTER-claw-link-v1';

/** Lengths of what each side had said when the server finished its half of TLS. */
interface Turn {
  readonly sent: number;
  readonly received: number;
}

interface PreparedClaim {
  readonly turn: Turn;
  readonly encoded: Promise<Buffer>;
}

export class InnerHandshake {
  readonly #options: InnerHandshakeOptions;
  readonly #pipe: TlsPipe;
  readonly #tls: TLSSocket;
  readonly #reader = new FlightReader();
  readonly #writer = new FlightWriter();
  readonly #claims = new ClaimReader();
  readonly #context = Promise.withResolvers<HandshakeContext>();
  readonly #peerClaim = Promise.withResolvers<Claim>();
  readonly #failure = Promise.withResolvers<never>();
  #bound: HandshakeContext | undefined;
  /** Where the flights before the client's last end, as far as they are known. */
  #turn: Turn = { sent: 0, received: 0 };
  #prepared: PreparedClaim | undefined;
  #failed = false;
  #tlsDone = false;
  /** Bytes of ours that were given to `onSegment`; TLS's last flight waits for the claim, to travel with it. */
  #released = 0;
  /** Resolves when both claims were checked on this side; rejects with the reason of refusal. */
  readonly result: Promise<HandshakeResult>;

  constructor(options: InnerHandshakeOptions) {
    this.#options = options;
    this.#pipe = new TlsPipe((bytes) => {
      this.#writer.push(bytes);
      if (!this.#tlsDone) this.#release();
    });
    this.#tls = startTls(options.role, this.#pipe, options.context);
    this.#tls.once('secure', () => {
      this.#tlsDone = true;
    });
    this.#tls.on('error', (cause) => this.fail(invalid(`TLS failed: ${errorText(cause)}`, cause)));
    this.#tls.on('data', (bytes: Buffer) => this.#onPlaintext(bytes));
    for (const promise of [this.#context.promise, this.#peerClaim.promise, this.#failure.promise])
      promise.catch(() => {});
    this.result = Promise.race([this.#run(), this.#failure.promise]);
    this.result.catch((error) => this.fail(error));
  }

  /** Takes in a segment of the peer, from any way, any number of times. */
  receive(segment: Segment): void {
    if (this.#failed) return;
    try {
      const before = this.#reader.length;
      const bytes = this.#reader.push(segment);
      if (bytes.length === 0) return;
      this.#takeTurn(before);
      this.#pipe.push(bytes);
    } catch (error) {
      this.fail(error);
    }
  }

  /** Everything that was given to `onSegment` from `offset` on, to say again on another way. */
  sentFrom(offset: number): Segment {
    return this.#writer.from(offset, this.#released);
  }

  /** Supplies what only both descriptions together tell. */
  bind(context: HandshakeContext): void {
    this.#bound = context;
    this.#context.resolve(context);
  }

  /**
   * Asks the key holder for this side's proof, over what was said so far. When it turns out that more belongs under it
   * (TLS agreed on a group at the second hello) it is made anew; so this may come at any time, and costs time only.
   */
  prepareClaim(): void {
    if (this.#failed || this.#prepared || !this.#bound) return;
    const turn =
      this.#options.role === 'client' ? this.#turn : { sent: this.#writer.length, received: this.#reader.length };
    this.#prepared = { turn, encoded: this.#makeClaim(this.#bound, this.#proofContext(this.#bound, turn)) };
    this.#prepared.encoded.catch(() => {}); // told when it is needed
  }

  /** Ends the handshake with `error`, unless it ended before. */
  fail(error: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#failure.reject(asRefusal(error));
    this.close();
  }

  /** Frees the TLS session; harmless at any time. */
  close(): void {
    this.#tls.destroy();
    this.#pipe.destroy();
  }

  async #run(): Promise<HandshakeResult> {
    const { role } = this.#options;
    await this.#secured();
    const context = await this.#context.promise;
    const exported = this.#tls.exportKeyingMaterial(64, EXPORTER_LABEL, context.binding);
    if (role === 'client') await this.#sendClaim(context);
    const claim = await this.#peerClaim.promise;
    const warnings = this.#checkClaim(claim, context);
    if (role === 'server') await this.#sendClaim(context);
    const clientToServer = exported.subarray(0, 32);
    const serverToClient = exported.subarray(32, 64);
    const keyExchange = this.#tls.getEphemeralKeyInfo();
    return {
      secrets:
        role === 'client'
          ? { send: clientToServer, receive: serverToClient }
          : { send: serverToClient, receive: clientToServer },
      peerFacts: { integrity: claim.integrity, version: claim.version },
      warnings,
      cipher: this.#tls.getCipher().standardName,
      keyExchange: keyExchange && 'name' in keyExchange ? (keyExchange.name ?? '') : '',
    };
  }

  /** Waits for TLS and checks that the peer's leaf was issued under its node key. */
  async #secured(): Promise<void> {
    await new Promise<void>((resolve) =>
      this.#tls.once(this.#options.role === 'client' ? 'secureConnect' : 'secure', resolve),
    );
    const leaf = this.#tls.getPeerX509Certificate();
    if (this.#tls.getProtocol() !== 'TLSv1.3' || !leaf) throw invalid('the peer showed no certificate over TLS 1.3');
    const fault = checkLeaf(leaf, this.#options.peer, this.#options.clock.now());
    if (fault === 'expired')
      throw linkError(
        'LINK_CERTIFICATE_EXPIRED',
        "the peer's ephemeral certificate is not valid now; compare the clocks",
      );
    if (fault)
      throw linkError(
        'LINK_IDENTITY_WRONG',
        "the peer's certificate was not issued by the node key that it was paired with",
      );
  }

  /** Before new bytes of the peer go to TLS, whose first `received` bytes it has. */
  #takeTurn(received: number): void {
    if (this.#tlsDone) return;
    if (this.#options.role === 'client') {
      this.#turn = { sent: this.#released, received: this.#reader.length };
      this.prepareClaim();
    } else if (this.#writer.length > this.#turn.sent) {
      // The client answers what was sent last; further pieces of that answer change nothing.
      this.#turn = { sent: this.#writer.length, received };
    }
  }

  #proofContext({ binding }: HandshakeContext, { sent, received }: Turn): Buffer {
    const own = this.#writer.from(0, sent).bytes;
    const peers = this.#reader.upTo(received);
    return this.#options.role === 'client' ? proofContext(binding, own, peers) : proofContext(binding, peers, own);
  }

  async #sendClaim(context: HandshakeContext): Promise<void> {
    const { sent, received } = this.#turn;
    const prepared = this.#prepared;
    const fits = prepared?.turn.sent === sent && prepared.turn.received === received;
    const claim = await (fits ? prepared.encoded : this.#makeClaim(context, this.#proofContext(context, this.#turn)));
    await new Promise<void>((resolve, reject) =>
      this.#tls.write(claim, (error) => (error ? reject(error) : resolve())),
    );
    this.#release();
  }

  async #makeClaim(context: HandshakeContext, channelBinding: Uint8Array): Promise<Buffer> {
    const { keyHolder, role, peer, clock } = this.#options;
    const request = { channelBinding, role, peer, nonce: context.peerNonce, timeMs: Math.floor(clock.now()) };
    const { facts, signature } = await keyHolder.prove(request);
    return encodeClaim({
      protocol: [PROTOCOL_VERSION, PROTOCOL_VERSION],
      node: publicKeyOf(keyHolder.nodeId),
      ...facts,
      nonce: context.peerNonce,
      binding: context.binding,
      timeMs: request.timeMs,
      signature,
    });
  }

  #release(): void {
    const segment = this.#writer.from(this.#released);
    this.#released += segment.bytes.length;
    this.#options.onSegment(segment);
  }

  #checkClaim(claim: Claim, context: HandshakeContext): string[] {
    const { peer, role, keyHolder, nonces, policy } = this.#options;
    if (nodeIdOf(claim.node) !== peer) throw linkError('LINK_IDENTITY_WRONG', 'the peer claims to be another node');
    const [lowest, highest] = claim.protocol;
    if (PROTOCOL_VERSION < lowest || PROTOCOL_VERSION > highest) {
      throw linkError(
        'LINK_VERSION_REFUSED',
        `the peer speaks protocol ${lowest} to ${highest}, we speak ${PROTOCOL_VERSION}`,
      );
    }
    if (!equalBytes(claim.nonce, context.ownNonce))
      throw linkError('LINK_NONCE_STALE', 'the peer answered a nonce that was not asked in this attempt');
    nonces.spend(claim.nonce);
    if (!equalBytes(claim.binding, context.binding)) {
      throw linkError('LINK_BINDING_MISMATCH', 'the two sides do not see the same outer connection');
    }
    const request = {
      channelBinding: this.#proofContext(context, this.#turn),
      role: role === 'client' ? ('server' as const) : ('client' as const),
      peer: keyHolder.nodeId,
      nonce: claim.nonce,
      timeMs: claim.timeMs,
    };
    const facts = { integrity: claim.integrity, version: claim.version };
    if (!verifyProof(peer, request, { facts, signature: claim.signature })) {
      throw linkError('LINK_IDENTITY_WRONG', "the peer's proof is not signed by the node key that it was paired with");
    }
    return checkPolicy(policy, keyHolder.facts, facts);
  }

  #onPlaintext(bytes: Buffer): void {
    try {
      const claim = this.#claims.push(bytes);
      if (claim) this.#peerClaim.resolve(claim);
    } catch (error) {
      this.fail(error);
    }
  }
}

function startTls(role: 'client' | 'server', pipe: TlsPipe, secureContext: SecureContext): TLSSocket {
  // Certificates are checked in #secured against one node key: no authority is trusted here.
  if (role === 'server') {
    return new TLSSocket(pipe, { isServer: true, secureContext, requestCert: true, rejectUnauthorized: false });
  }
  return connect({ socket: pipe, secureContext, rejectUnauthorized: false, checkServerIdentity: () => undefined });
}

/** The transport that node:tls sees: what it writes becomes segments, what arrives is pushed. */
class TlsPipe extends Duplex {
  readonly #out: (bytes: Buffer) => void;

  constructor(out: (bytes: Buffer) => void) {
    super();
    this.#out = out;
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: () => void): void {
    this.#out(chunk);
    callback();
  }

  /** A flight that TLS writes in pieces leaves as one. */
  override _writev(chunks: { chunk: Buffer }[], callback: () => void): void {
    this.#out(Buffer.concat(chunks.map(({ chunk }) => chunk)));
    callback();
  }
}

function invalid(message: string, cause?: unknown) {
  return linkError('LINK_HANDSHAKE_INVALID', message, { cause });
}

function asRefusal(error: unknown): ClawError {
  if (isClawError(error) && error.code.startsWith('LINK_')) return error;
  return invalid(`the handshake failed: ${errorText(error)}`, error);
}
