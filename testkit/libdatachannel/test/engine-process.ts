/** A process for engine-lifetime.test.ts: connects to itself, then ends as argv[2] says. */

import { createNodeDataChannelEngine } from '../src/index.ts';

const engine = createNodeDataChannelEngine({ bindAddress: '127.0.0.1' });
const left = engine.createPeerConnection({});
const right = engine.createPeerConnection({});
const channels = [left, right].map((end) => end.createDataChannel('0', { negotiated: true, id: 0 }));
const opened = channels.map(
  (channel) =>
    new Promise<void>((resolve) => {
      channel.onopen = resolve;
    }),
);
await right.setRemoteDescription(await left.setLocalDescription());
await left.setRemoteDescription(await right.setLocalDescription());
await Promise.all(opened);
console.log('connected');

const what = process.argv[2] ?? '';
for (const channel of channels) for (let sent = 0; sent < 100; sent += 1) channel.send(Buffer.alloc(16_384));
if (what.startsWith('ends')) {
  left.close();
  right.close();
} else if (what.startsWith('exits')) {
  process.exit(0);
} else {
  throw new Error('as asked');
}
