import { peerConnectionCompliance } from '@claw/testkit';
import { createWebrtcEngine } from '../src/index.ts';

peerConnectionCompliance('our own stack', (onHandlerError) =>
  createWebrtcEngine({ addresses: ['127.0.0.1'], onHandlerError }),
);
