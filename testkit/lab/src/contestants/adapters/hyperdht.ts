/**
 * hyperdht: b listens under a key, a connects to the key, which goes by signal; a
 * private DHT of four nodes and a blind relay run on the public host. IPv4 only,
 * and one attempt: that is what its `connect` does.
 */

import type { Duplex } from 'node:stream';
import type { Adapter, PathFacts, PeerContext, ServerContext, Session } from '../contract.ts';
import { loadInstalled, packageVersion } from './packages.ts';
import { nextSignal } from './signals.ts';
import { StreamSession } from './stream-session.ts';

const DHT_NODES = 4;

/** What is used of the packages' interfaces. */
interface Address {
  readonly host: string;
  readonly port: number;
}
interface KeyPair {
  readonly publicKey: Buffer;
}
interface SecretStream extends Duplex {
  readonly rawStream: { readonly remoteHost: string; readonly remotePort: number } | null;
  readonly remotePublicKey: Buffer;
}
interface Dht {
  readonly defaultKeyPair: KeyPair;
  address(): Address;
  connect(publicKey: Buffer, options: { relayThrough?: Buffer }): SecretStream;
  createServer(onConnection: (stream: SecretStream) => void): { listen(keyPair: KeyPair): Promise<void> };
  createRawStream(options: object): unknown;
  destroy(options?: { force: boolean }): Promise<void>;
}
type DhtClass = new (options: { bootstrap: readonly Address[] }) => Dht;
type CreateTestnet = (
  size: number,
  options: { host: string },
) => Promise<{ readonly nodes: readonly Dht[]; readonly bootstrap: readonly Address[] }>;
interface BlindRelay {
  readonly Server: new (options: {
    createStream: (options: object) => unknown;
  }) => {
    accept(stream: SecretStream, options: { id: Buffer }): { on(event: 'error', handler: () => void): void };
  };
}

interface ServerFacts {
  readonly bootstrap: readonly Address[];
  readonly relay: Address & { readonly publicKey: string };
}

export function createHyperdhtAdapter(): Adapter {
  let Dht: DhtClass | undefined;
  return {
    name: 'hyperdht',
    version: () => packageVersion('hyperdht'),
    server: serve,
    async prepare() {
      Dht = (await loadInstalled<{ default: DhtClass }>('hyperdht')).default;
    },
    async open(context) {
      const facts = context.server as ServerFacts | null;
      if (!facts) throw new Error('hyperdht needs a DHT, and there is none on this network');
      const dht = new (Dht as DhtClass)({ bootstrap: facts.bootstrap });
      return context.role === 'a' ? dialPeer(context, dht, facts) : awaitPeer(context, dht, facts);
    },
  };
}

async function serve({ host, ready }: ServerContext): Promise<void> {
  const { default: createTestnet } = await loadInstalled<{ default: CreateTestnet }>('hyperdht/testnet.js');
  const { default: relay } = await loadInstalled<{ default: BlindRelay }>('blind-relay');
  const { nodes, bootstrap } = await createTestnet(DHT_NODES, { host });
  const node = nodes.at(-1) as Dht;
  const relays = new relay.Server({ createStream: (options) => node.createRawStream({ ...options, framed: true }) });
  const server = node.createServer((stream) => {
    stream.on('error', () => {}); // a client that went away
    relays.accept(stream, { id: stream.remotePublicKey }).on('error', () => {});
  });
  await server.listen(node.defaultKeyPair);
  const publicKey = node.defaultKeyPair.publicKey.toString('hex');
  ready({ bootstrap, relay: { host, port: node.address().port, publicKey } } satisfies ServerFacts);
}

async function dialPeer(context: PeerContext, dht: Dht, facts: ServerFacts): Promise<Session> {
  const { publicKey } = await nextSignal<{ publicKey: string }>(context);
  const relayThrough = Buffer.from(facts.relay.publicKey, 'hex');
  const stream = dht.connect(Buffer.from(publicKey, 'hex'), { relayThrough });
  await new Promise<void>((resolve, reject) => {
    stream.once('open', resolve);
    stream.once('error', reject);
  });
  return sessionOf(stream, dht, facts);
}

async function awaitPeer(context: PeerContext, dht: Dht, facts: ServerFacts): Promise<Session> {
  const incoming = Promise.withResolvers<SecretStream>();
  const server = dht.createServer((stream) => incoming.resolve(stream));
  await server.listen(dht.defaultKeyPair);
  context.sendSignal({ publicKey: dht.defaultKeyPair.publicKey.toString('hex') });
  return sessionOf(await incoming.promise, dht, facts);
}

function sessionOf(stream: SecretStream, dht: Dht, { relay }: ServerFacts): Session {
  return new DhtSession(stream, dht, () => {
    const { remoteHost = '', remotePort = 0 } = stream.rawStream ?? {};
    const relayed = remoteHost === relay.host && remotePort === relay.port;
    return { type: relayed ? 'relayed' : 'direct', protocol: 'udp', detail: `UDX to ${remoteHost}:${remotePort}` };
  });
}

class DhtSession extends StreamSession {
  readonly #dht: Dht;

  constructor(stream: Duplex, dht: Dht, path: () => PathFacts) {
    super(stream, path);
    this.#dht = dht;
  }

  override async close(): Promise<void> {
    await super.close();
    await this.#dht.destroy({ force: true });
  }
}
