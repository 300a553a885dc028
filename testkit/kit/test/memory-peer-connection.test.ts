import { MemoryRtcNetwork, peerConnectionCompliance } from '../src/index.ts';

peerConnectionCompliance('memory', (onHandlerError) => new MemoryRtcNetwork({ onHandlerError }).engine);

peerConnectionCompliance(
  'memory with delay and reordering',
  (onHandlerError) => new MemoryRtcNetwork({ onHandlerError, delayMs: 2, reorder: 0.2, bytesPerMs: 100_000 }).engine,
);
