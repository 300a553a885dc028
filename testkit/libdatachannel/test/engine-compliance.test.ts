import { peerConnectionCompliance } from '@claw/testkit';
import { createNodeDataChannelEngine } from '../src/index.ts';

// libdatachannel 0.24 lets ICE connect before it has stored the answer's fingerprint; a few set-ups in a hundred lose
// that race, end at once with "unknown CA", and are the link's to repeat.
peerConnectionCompliance(
  'node-datachannel',
  (onHandlerError) => createNodeDataChannelEngine({ bindAddress: '127.0.0.1', onHandlerError }),
  { retry: 3 },
);
