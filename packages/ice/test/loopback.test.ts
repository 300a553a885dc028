/** Two agents on the sockets of this machine. */

import { afterEach, describe, expect, it } from 'vitest';
import { NodeIceTransport, type NodeIceTransportOptions } from '../src/node/index.ts';
import { connectTransports, untilState } from './transports.ts';

const open: NodeIceTransport[] = [];

function transport(options: Partial<NodeIceTransportOptions> & { controlling: boolean }, received: string[] = []) {
  const made = new NodeIceTransport({
    addresses: ['127.0.0.1'],
    events: { onDatagram: (bytes) => received.push(Buffer.from(bytes).toString('latin1')) },
    ...options,
  });
  open.push(made);
  return made;
}

afterEach(async () => {
  await Promise.all(open.splice(0).map((each) => each.close()));
});

describe('two agents on one machine', () => {
  it('connect over UDP and carry datagrams both ways', async () => {
    const heard: string[] = [];
    const a = transport({ controlling: true }, heard);
    const b = transport({ controlling: false }, heard);
    await connectTransports(a, b);
    await Promise.all([untilState(a, 'completed'), untilState(b, 'completed')]);
    expect(a.agent.sendDatagram(Buffer.from('\u0016hello'))).toBe(true);
    expect(b.agent.sendDatagram(Buffer.from('\u0016there'))).toBe(true);
    await expect.poll(() => heard.length).toBe(2);
    expect(a.agent.stats().selected).toMatchObject({ local: { type: 'host', protocol: 'udp' }, packetsSent: 1 });
  });
});
