/** Two real nodes in one process, paired and linked over loopback; only their signaling goes through memory. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createLogger, systemClock, systemRandom } from '@claw/base';
import type { PeerRecord } from '@claw/identity';
import { MemoryNetwork, temporaryDirectory, until } from '@claw/testkit';
import { createWebrtcEngine } from '@claw/webrtc';
import { Node } from '../src/index.ts';

export interface NodePair extends AsyncDisposable {
  /** The one that lends and receives; it calls the other `user`. */
  readonly lender: Node;
  /** The one that uses and sends; it calls the other `lender`. */
  readonly user: Node;
  readonly lenderAtUser: PeerRecord;
  readonly userAtLender: PeerRecord;
  /** A new empty folder of the lender's machine. */
  readonly folder: string;
  /** Events that both nodes logged, in order. */
  readonly log: readonly { event: string; name: string; detail?: string; line?: string }[];
}

export async function openNodePair(settings: { lender?: object; user?: object } = {}): Promise<NodePair> {
  const directory = temporaryDirectory();
  const log: NodePair['log'][number][] = [];
  const engine = createWebrtcEngine({
    onHandlerError: (error) => log.push({ name: 'engine', event: 'failed', detail: String(error) }),
  });
  const envelopes = new MemoryNetwork();
  const open = async (name: 'lender' | 'user') => {
    const home = join(directory.path, name);
    mkdirSync(home, { mode: 0o700 });
    writeFileSync(join(home, 'claw.json'), JSON.stringify({ name, lan: false, ...settings[name] }), { mode: 0o600 });
    const node = await Node.open({
      home,
      engine,
      clock: systemClock,
      random: systemRandom,
      logger: createLogger({ write: (line) => log.push({ name, ...JSON.parse(line) }) }),
      onFatal: (error) => log.push({ name, event: 'fatal', detail: error.message }),
    });
    node.router.addCarrier((onEnvelope) => envelopes.open({ nodeId: node.keyHolder.nodeId, onEnvelope }));
    return node;
  };
  const [lender, user] = await Promise.all([open('lender'), open('user')]);
  const { text } = await lender.pairing.invite();
  const lenderAtUser = await user.pairing.join(text);
  await Promise.all([user.keeper.linkTo(lender.keyHolder.nodeId), lender.keeper.linkTo(user.keyHolder.nodeId)]);
  // Both offer at once after a pairing: wait until one link has outlived the other.
  await until(() => linkStands(lender, user) && linkStands(user, lender), 'one link');
  const folder = join(directory.path, 'folder');
  mkdirSync(folder);
  const close = async () => {
    await Promise.all([user.close(), lender.close()]);
    directory[Symbol.dispose]();
  };
  return {
    lender,
    user,
    lenderAtUser,
    userAtLender: lender.peers.find('user'),
    folder,
    log,
    [Symbol.asyncDispose]: close,
  };
}

function linkStands(node: Node, peer: Node): boolean {
  return node.keeper.status(peer.keyHolder.nodeId)?.state === 'linked';
}

/** Everything that `stream` says until its end. */
export async function readAll(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** The error in which `work` ends. */
export async function failureOf(work: () => unknown): Promise<{ code: string; message: string; hint?: string }> {
  try {
    await work();
  } catch (error) {
    return error as { code: string; message: string };
  }
  throw new Error('it was expected to fail');
}
