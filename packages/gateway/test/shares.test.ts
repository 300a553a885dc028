import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { until } from '@claw/testkit';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { failureOf, type NodePair, openNodePair, readAll } from './node-pair.ts';

let pair: NodePair;
const servers: Server[] = [];
const sockets = new Set<Socket>();

beforeAll(async () => {
  pair = await openNodePair();
});
afterAll(() => pair?.[Symbol.asyncDispose]());
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  sockets.clear();
  await Promise.all(servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve))));
  for (const { name } of pair.lender.shares.status())
    await pair.lender.edit([{ path: ['services', name], value: undefined }]);
});

/** A server on a free port of this machine, and that port as a target. */
async function serve(onSocket: (socket: Socket) => unknown): Promise<string> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    onSocket(socket);
  });
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  return `127.0.0.1:${typeof address === 'object' ? address?.port : 0}`;
}

const lend = (target: string, to = ['user']) => pair.lender.lend('service', { kind: 'tcp', target }, to);

async function openStream(service = 'share/service') {
  const link = await pair.user.keeper.linkTo(pair.lender.keyHolder.nodeId);
  return link.openStream(service);
}

async function connectTo(port: number): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
  sockets.add(socket);
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

describe('tcp share', () => {
  it('passes the caller’s end on and still carries the answer', async () => {
    const target = await serve((socket) => readAll(socket).then((asked) => socket.end(`you said ${String(asked)}`)));
    await lend(target);
    const stream = await openStream();
    stream.end('hello');
    expect(String(await readAll(stream))).toBe('you said hello');
  });

  it('passes the target’s end on and still carries what the caller says', async () => {
    const heard = Promise.withResolvers<string>();
    const target = await serve((socket) => {
      socket.end('goodbye');
      void readAll(socket).then((all) => heard.resolve(String(all)));
    });
    await lend(target);
    const stream = await openStream();
    expect(String(await readAll(stream))).toBe('goodbye');
    stream.end('still here');
    expect(await heard.promise).toBe('still here');
  });

  it('carries 8 MiB both ways at once without a flaw when both sides talk', async () => {
    const target = await serve((socket) => socket.pipe(socket));
    await lend(target);
    const forward = await pair.user.use(pair.lenderAtUser, 'service', {});
    const socket = await connectTo(forward.port);
    const sent = randomBytes(8 * 1024 * 1024);
    socket.end(sent);
    const back = await readAll(socket);
    expect(createHash('sha256').update(back).digest('hex')).toBe(createHash('sha256').update(sent).digest('hex'));
    expect(forward.carried).toBe(1);
    await until(() => forward.openConnections === 0, 'the connection to end');
    await until(() => pair.lender.shares.status()[0]?.openStreams === 0, 'the stream to end');
  });

  it('refuses with STREAM_TARGET_FAILED when nothing listens at the target', async () => {
    const target = await serve(() => {});
    await new Promise((resolve) => servers.pop()?.close(resolve));
    await lend(target);
    const stream = await openStream();
    const error = await failureOf(() => stream.accepted);
    expect(error.code).toBe('STREAM_TARGET_FAILED');
    expect(error.message).toContain('ECONNREFUSED');
  });

  it('resets the target’s connection when the caller vanishes', async () => {
    const ended = Promise.withResolvers<Error>();
    const target = await serve((socket) => {
      socket.once('error', ended.resolve);
      socket.write('x');
      socket.resume();
    });
    await lend(target);
    const forward = await pair.user.use(pair.lenderAtUser, 'service', {});
    const socket = await connectTo(forward.port);
    await once(socket, 'data');
    socket.resetAndDestroy();
    expect(await ended.promise).toMatchObject({ code: 'ECONNRESET' });
    await until(() => pair.lender.shares.status()[0]?.openStreams === 0, 'the stream to end');
  });

  it('cuts the caller off when the target resets', async () => {
    const target = await serve((socket) => socket.once('data', () => socket.resetAndDestroy()));
    await lend(target);
    const stream = await openStream();
    stream.write('x');
    expect((await failureOf(() => readAll(stream))).code).toBe('STREAM_RESET');
    const forward = await pair.user.use(pair.lenderAtUser, 'service', {});
    const socket = await connectTo(forward.port);
    socket.write('x');
    expect((await failureOf(() => readAll(socket))).code).toBe('ECONNRESET');
  });
});

describe('a grant', () => {
  it('that is missing looks like a share that does not exist', async () => {
    await lend(await serve((socket) => socket.pipe(socket)), []);
    const [granted, unknown] = [await openStream('share/service'), await openStream('share/service2')];
    const errors = [await failureOf(() => granted.accepted), await failureOf(() => unknown.accepted)];
    expect(errors.map((error) => error.code)).toEqual(['STREAM_NOT_GRANTED', 'STREAM_NOT_GRANTED']);
    expect(errors[0]?.message.replace('service', '')).toBe(errors[1]?.message.replace('service2', ''));
  });

  it('by a name in claw.json is refused: only a node id is a grant', async () => {
    const named = { kind: 'tcp', target: '127.0.0.1:9', to: ['user'] };
    const refusal = await failureOf(() => pair.lender.edit([{ path: ['services', 'service'], value: named }]));
    expect(refusal).toMatchObject({ code: 'SETTINGS_INVALID' });
  });

  it('that is taken back cuts the streams of that peer at once and says so', async () => {
    await lend(await serve((socket) => socket.pipe(socket)));
    const stream = await openStream();
    await stream.accepted;
    await pair.lender.edit([{ path: ['services', 'service', 'to'], value: [] }]);
    expect(await failureOf(() => readAll(stream))).toMatchObject({ code: 'STREAM_NOT_GRANTED' });
  });

  it('that stays keeps its streams when another peer is added', async () => {
    await lend(await serve((socket) => socket.pipe(socket)));
    const stream = await openStream();
    await stream.accepted;
    const other = 'a'.repeat(52);
    const { to } = pair.lender.settings.services['service'] ?? { to: [] };
    await pair.lender.edit([{ path: ['services', 'service', 'to'], value: [...to, other] }]);
    stream.write('echo');
    expect(String((await once(stream, 'data'))[0])).toBe('echo');
    stream.destroy();
  });

  it('that is taken back while the target is being reached comes too late for the stream', async () => {
    const target = await serve((socket) => socket.resume());
    await lend(target);
    const link = await pair.user.keeper.linkTo(pair.lender.keyHolder.nodeId);
    const handled = pair.lender.shares.handle.bind(pair.lender.shares);
    // The very moment between the check and the connection: the settings change in the same turn.
    pair.lender.shares.handle = (channel, peer) => {
      const taken = handled(channel, peer);
      pair.lender.shares.apply({});
      return taken;
    };
    try {
      const stream = link.openStream('share/service');
      expect(await failureOf(() => stream.accepted)).toMatchObject({ code: 'STREAM_NOT_GRANTED' });
    } finally {
      pair.lender.shares.handle = handled;
    }
  });

  it('ends with the pairing, also for a later one', async () => {
    await using own = await openNodePair();
    await own.lender.lend('service', { kind: 'files', directory: own.folder }, ['user']);
    const before = await own.user.keeper.linkTo(own.lender.keyHolder.nodeId);
    await own.lender.unpair(own.userAtLender);
    expect((await before.ended).code).toBe('LINK_UNPAIRED');
    expect(own.lender.settings.services['service']?.to).toEqual([]);
    await until(
      () => own.user.peers.get(own.lender.keyHolder.nodeId)?.state === 'removed-by-peer',
      'the word of the end',
    );
  });
});

describe('the catalog', () => {
  it('shows only what the asking peer may use', async () => {
    await pair.lender.lend('open', { kind: 'files', directory: pair.folder }, ['user']);
    await pair.lender.lend('closed', { kind: 'files', directory: pair.folder }, []);
    expect(await pair.user.catalogOf(pair.lenderAtUser)).toEqual({ services: [{ name: 'open', kind: 'files' }] });
  });

  it('names what there is when a share is asked for that there is not', async () => {
    await pair.lender.lend('notes', { kind: 'files', directory: pair.folder }, ['user']);
    const error = await failureOf(() => pair.user.use(pair.lenderAtUser, 'nots', {}));
    expect(error).toMatchObject({ code: 'SERVICE_UNKNOWN', hint: 'It shares: notes.' });
  });
});

describe('a forward', () => {
  it('refuses an address that other machines can reach', async () => {
    await lend(await serve((socket) => socket.end()));
    const error = await failureOf(() => pair.user.use(pair.lenderAtUser, 'service', { host: '0.0.0.0' }));
    expect(error.code).toBe('SERVICE_INVALID');
  });

  it('says FORWARD_PORT_TAKEN when something listens there already', async () => {
    const target = await serve((socket) => socket.end());
    await lend(target);
    const port = Number(target.split(':')[1]);
    const error = await failureOf(() => pair.user.use(pair.lenderAtUser, 'service', { port }));
    expect(error.code).toBe('FORWARD_PORT_TAKEN');
  });

  it('is the same when the same share is opened twice', async () => {
    await lend(await serve((socket) => socket.end()));
    const first = await pair.user.use(pair.lenderAtUser, 'service', {});
    expect(await pair.user.use(pair.lenderAtUser, 'service', {})).toBe(first);
  });

  it('carries a connection over the next link when the link breaks', async () => {
    await lend(await serve((socket) => socket.pipe(socket)));
    const forward = await pair.user.use(pair.lenderAtUser, 'service', {});
    (await pair.user.keeper.linkTo(pair.lender.keyHolder.nodeId)).close();
    const socket = await connectTo(forward.port);
    socket.end('hello');
    expect(String(await readAll(socket))).toBe('hello');
  });
});

describe('settings', () => {
  it('that break while the node runs leave the shares as they were', async () => {
    await lend(await serve((socket) => socket.pipe(socket)));
    const path = join(pair.lender.home, 'claw.json');
    const good = await import('node:fs').then(({ readFileSync }) => readFileSync(path));
    writeFileSync(path, '{ "services": ');
    await pair.lender.reload();
    expect(pair.lender.settingsNotes.error?.message).toMatch(/^claw\.json:1:\d+: /);
    const stream = await openStream();
    stream.end('still');
    expect(String(await readAll(stream))).toBe('still');
    writeFileSync(path, good);
    await pair.lender.reload();
    expect(pair.lender.settingsNotes.error).toBeUndefined();
  });
});
