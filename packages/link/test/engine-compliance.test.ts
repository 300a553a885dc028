import { MemoryRtcNetwork, peerConnectionCompliance } from '@claw/testkit';
import { createNodeDataChannelEngine } from '../src/node-datachannel/index.ts';

peerConnectionCompliance('node-datachannel', (onHandlerError) =>
  createNodeDataChannelEngine({ bindAddress: '127.0.0.1', onHandlerError }),
);

peerConnectionCompliance('memory', (onHandlerError) => new MemoryRtcNetwork({ onHandlerError }).engine);

peerConnectionCompliance(
  'memory with delay and reordering',
  (onHandlerError) => new MemoryRtcNetwork({ onHandlerError, delayMs: 2, reorder: 0.2, bytesPerMs: 100_000 }).engine,
);
