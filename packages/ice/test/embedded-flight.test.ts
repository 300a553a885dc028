/** DTLS flights inside checks: what one side writes, the other reads. */

import { describe, expect, it } from 'vitest';
import { EmbeddedFlight, MAX_EMBEDDED_BYTES } from '../src/agent/embedded-flight.ts';
import { ATTRIBUTE, METHOD } from '../src/stun/constants.ts';
import { StunWriter } from '../src/stun/encode.ts';
import { decodeStun, type StunMessage } from '../src/stun/message.ts';
import { BareAgent, PEER } from './bare-agent.ts';

const packet = (mark: number, length = 20) => Buffer.concat([Buffer.from([22]), Buffer.alloc(length - 1, mark)]);

function messageOf(flight: EmbeddedFlight, path = 'p', nowMs = 0): StunMessage {
  const writer = new StunWriter('request', METHOD.binding, Buffer.alloc(12));
  flight.write(writer, path, nowMs);
  return decodeStun(writer.finishWithFingerprint()) as StunMessage;
}

const dataOf = (message: StunMessage) => message.attributes.get(ATTRIBUTE.embeddedDtls)?.value;
const hasAcks = (message: StunMessage) => message.attributes.has(ATTRIBUTE.embeddedDtlsAck);

function pair() {
  const [client, server] = [new EmbeddedFlight(), new EmbeddedFlight()];
  client.isWanted = true;
  return { client, server };
}

describe('the agent', () => {
  it('sends a flight by itself when the peer that claimed to take it in checks does not', () => {
    const bare = new BareAgent();
    const id = bare.open();
    bare.meet();
    bare.agent.setRemoteParameters({ ...PEER, canEmbed: true }, bare.nowMs);
    bare.agent.sendFlight([packet(1)], bare.nowMs);
    bare.wait(300);
    bare.answerChecks(id);
    expect(bare.sent.map(({ bytes }) => bytes)).toContainEqual(packet(1));
  });
});

describe('an embedded flight', () => {
  it('stays out of messages to a peer that has not said that it understands', () => {
    const { server } = pair();
    server.begin([packet(1)]);
    expect(messageOf(server).attributes.size).toBe(0);
  });

  it('goes with every message on another path until it is acknowledged, and is handed on once', () => {
    const { client, server } = pair();
    client.begin([packet(1)]);
    const [first, second] = [messageOf(client, 'p'), messageOf(client, 'q')];
    expect(server.read(first)).toEqual(packet(1));
    expect(server.read(second)).toBeUndefined();
    expect(client.read(messageOf(server))).toBeUndefined();
    expect(dataOf(messageOf(client, 'r'))).toHaveLength(0);
  });

  it('is answered although the peer has not told its description yet', () => {
    const { client, server } = pair();
    client.begin([packet(1)]);
    server.read(messageOf(client));
    server.begin([packet(2)]);
    expect(client.read(messageOf(server))).toEqual(packet(2));
  });

  it('takes turns over its packets, and leaves out those that no check can carry', () => {
    const { client } = pair();
    client.begin([packet(1), packet(2, MAX_EMBEDDED_BYTES + 1), packet(3)]);
    const sent = ['a', 'b', 'c'].map((path) => dataOf(messageOf(client, path))?.[1]);
    expect(sent).toEqual([1, 3, 1]);
  });

  it('is not repeated at once on the path that has just had it', () => {
    const { client } = pair();
    client.begin([packet(1)]);
    client.sent('p', 100);
    expect(dataOf(messageOf(client, 'p', 120))).toHaveLength(0);
    expect(dataOf(messageOf(client, 'p', 400))).toEqual(packet(1));
  });

  it('ends on both sides with the handshake', () => {
    const { client, server } = pair();
    client.begin([packet(1)]);
    server.read(messageOf(client));
    server.begin([packet(2)]);
    client.read(messageOf(server));
    client.begin([packet(3)]);
    client.complete(true);
    server.read(messageOf(client));
    server.complete(false);
    for (let round = 0; round < 3; round += 1) {
      client.read(messageOf(server));
      server.read(messageOf(client));
    }
    expect(hasAcks(messageOf(client))).toBe(false);
    expect(hasAcks(messageOf(server))).toBe(false);
  });

  it('ends when the peer turns out not to understand', () => {
    const { client } = pair();
    client.begin([packet(1)]);
    client.read(messageOf(new EmbeddedFlight()));
    expect(messageOf(client).attributes.size).toBe(0);
  });

  it('hands on nothing that is no DTLS', () => {
    const { client, server } = pair();
    client.begin([Buffer.from([1, 2, 3, 4])]);
    expect(server.read(messageOf(client))).toBeUndefined();
  });
});
