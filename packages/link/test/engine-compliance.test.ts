import { MemoryRtcNetwork, peerConnectionCompliance } from '@claw/testkit';
import { createNodeDataChannelEngine } from '../src/node-datachannel/index.ts';

// libdatachannel 0.24 lets ICE connect before it has stored the answer's fingerprint; a few set-ups in a hundred lose
// that race, end at once with "unknown CA", and are the link's to repeat.
peerConnectionCompliance(
  'node-datachannel',
  (onHandlerError) => createNodeDataChannelEngine({ bindAddress: '127.0.0.1', onHandlerError }),
  { retry: 3 },
);

peerConnectionCompliance('memory', (onHandlerError) => new MemoryRtcNetwork({ onHandlerError }).engine);

peerConnectionCompliance(
  'memory with delay and reordering',
  (onHandlerError) => new MemoryRtcNetwork({ onHandlerError, delayMs: 2, reorder: 0.2, bytesPerMs: 100_000 }).engine,
);
