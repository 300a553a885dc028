/**
 * A node's LAN carrier in a process of its own, for the tests in network namespaces:
 * takes one JSON command a line, writes one JSON event a line.
 */

import { createInterface } from 'node:readline';
import type { NodeId } from '@claw/contracts';
import { openLanCarrier } from '../src/index.ts';

const nodeId = process.argv[2] as NodeId;
const write = (event: object) => process.stdout.write(`${JSON.stringify(event)}\n`);

const carrier = openLanCarrier({
  nodeId,
  onEnvelope: (bytes) => write({ received: Buffer.from(bytes).toString('hex') }),
});

createInterface(process.stdin).on('line', (line) => {
  const command = JSON.parse(line) as { send?: string; rescan?: true };
  if (command.send !== undefined) carrier.send(nodeId, Buffer.from(command.send, 'hex'));
  if (command.rescan) carrier.rescan();
  write({ status: carrier.status() });
});
process.stdin.on('end', () => void carrier.close());
write({ status: carrier.status() });
