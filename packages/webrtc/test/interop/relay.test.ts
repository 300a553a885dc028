/**
 * Relays of a coturn that takes time-limited credentials (draft-uberti-behave-turn-rest), ours and Chromium's, and
 * either of the two behind nothing but an HTTP proxy that asks for a password.
 */

import { createHash, createHmac, X509Certificate } from 'node:crypto';
import { networkInterfaces } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ConnectProxy, startConnectProxy } from '../../../ice/test/connect-proxy.ts';
import { type Coturn, startCoturn, whyNoCoturn } from '../../../ice/test/coturn.ts';
import { digest, makeMessage, type Recipe } from './agent.ts';
import { connect, directions } from './cell.ts';
import { chromium } from './kinds.ts';
import { Meeting, type MeetingOptions } from './meeting.ts';
import type { InteropPeer, PeerHost } from './peer.ts';
import { launchChromium } from './peers/chromium.ts';
import { type Credentials, signInToProxy } from './peers/proxy-sign-in.ts';

const SECRET = 'north';
const USER: Credentials = { username: 'me', password: 'pass' };
const PROTOCOLS = ['udp', 'tcp', 'tls'] as const;
const LOOKS = 40;
const missing = whyNoCoturn() ?? chromium.missing;
const MESSAGES: readonly Recipe[] = [
  { kind: 'text', size: 1000, seed: 1 },
  { kind: 'bytes', size: 262_144, seed: 2 },
];

/** Of the network if there is one: what Chromium sends to loopback comes from there and not from where it says. */
function ownAddress(): string {
  const addresses = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  return addresses.find(({ family, internal }) => family === 'IPv4' && !internal)?.address ?? '127.0.0.1';
}

/** Good for a time that may be over. */
function restCredentials(seconds: number) {
  const username = `${Math.floor(Date.now() / 1000) + seconds}:me`;
  return { username, credential: createHmac('sha1', SECRET).update(username).digest('base64') };
}

describe.skipIf(missing !== undefined)(`relays of coturn${missing ? ` (skipped: ${missing})` : ''}`, () => {
  let turn: Coturn;
  let proxy: ConnectProxy;
  let flags: readonly string[];
  const hosts: AsyncDisposable[] = [];

  beforeAll(async () => {
    turn = await startCoturn(['--use-auth-secret', `--static-auth-secret=${SECRET}`], ownAddress());
    proxy = await startConnectProxy(USER.username, USER.password);
    const key = new X509Certificate(turn.ca).publicKey.export({ type: 'spki', format: 'der' });
    // It trusts coturn's own certificate, and no other that it would not.
    flags = [`--ignore-certificate-errors-spki-list=${createHash('sha256').update(key).digest('base64')}`];
  });
  afterAll(async () => {
    for (const host of [...hosts, proxy, turn]) await host?.[Symbol.asyncDispose]();
  });

  const servers = (protocol: (typeof PROTOCOLS)[number], seconds = 600) => {
    const urls = {
      udp: `turn:127.0.0.1:${turn.port}`,
      tcp: `turn:127.0.0.1:${turn.port}?transport=tcp`,
      tls: `turns:localhost:${turn.tlsPort}?transport=tcp`,
    };
    return [{ urls: urls[protocol], ...restCredentials(seconds) }];
  };
  const relayed = (protocol: (typeof PROTOCOLS)[number]) => ({
    iceServers: servers(protocol),
    iceTransportPolicy: 'relay',
  });

  /** Connects, sends both ways; the selected pair as we and as they see it. */
  async function meet(host: PeerHost, offerer: 'we' | 'they', options: MeetingOptions) {
    await using meeting = await Meeting.arrange(
      chromium,
      await host.newPeer(),
      { offerer, dtlsClient: 'answerer' },
      options,
    );
    await connect(meeting);
    for (const { from, to } of directions(meeting)) {
      await from.send('first', ...MESSAGES);
      expect(await to.take('first', MESSAGES.length)).toEqual(MESSAGES.map((each) => digest(makeMessage(each))));
    }
    return await Promise.all(directions(meeting).map(({ from }) => selectedPair(from)));
  }

  describe('with a Chromium that goes out directly', () => {
    let host: Awaited<ReturnType<typeof launchChromium>>;
    beforeAll(async () => {
      // A relay lets nobody in whose address it was not told, and a name in `.local` is none.
      host = await launchChromium([...flags, '--disable-features=WebRtcHideLocalIpsWithMdns']);
      hosts.push(host);
    });

    it.each(PROTOCOLS)('carry us to it over %s', async (protocol) => {
      const ours = { ...relayed(protocol), ca: turn.ca };
      const [we, they] = await meet(host, 'we', { ours });
      expect(we?.local).toMatchObject({ candidateType: 'relay', relayProtocol: protocol });
      expect(they?.remote).toMatchObject({ port: we?.local['port'] });
    });

    it.each(PROTOCOLS)('carry it to us over %s', async (protocol) => {
      const [we, they] = await meet(host, 'they', { theirs: relayed(protocol) });
      expect(they?.local).toMatchObject({ candidateType: 'relay', relayProtocol: protocol });
      expect(we?.remote).toMatchObject({ port: they?.local['port'] });
    });

    it('carry both, ours over TLS and its over UDP', async () => {
      const [we, they] = await meet(host, 'we', { ours: { ...relayed('tls'), ca: turn.ca }, theirs: relayed('udp') });
      expect([we, they].map((pair) => pair?.local['candidateType'])).toEqual(['relay', 'relay']);
    });

    it('carry us out of a network that has nothing but a proxy with a password', async () => {
      const way = { host: '127.0.0.1', port: proxy.port, username: USER.username, password: USER.password };
      for (const protocol of ['tcp', 'tls'] as const) {
        const before = proxy.tunnels.length;
        const [we] = await meet(host, 'they', { ours: { ...relayed(protocol), ca: turn.ca, proxy: way } });
        expect(we?.local).toMatchObject({ candidateType: 'relay', relayProtocol: protocol });
        expect(proxy.tunnels.slice(before)).toEqual([
          protocol === 'tcp' ? `127.0.0.1:${turn.port}` : `localhost:${turn.tlsPort}`,
        ]);
      }
    });

    it('are not for credentials whose time is over', async () => {
      const ours = { iceServers: servers('udp', -60), iceTransportPolicy: 'relay' };
      await using meeting = await Meeting.arrange(
        chromium,
        await host.newPeer(),
        { offerer: 'we', dtlsClient: 'answerer' },
        { ours },
      );
      await meeting.we.open('first');
      await meeting.we.describe('offer');
      expect((await meeting.we.gathered()).sdp).not.toContain('a=candidate');
    });
  });

  describe('with a Chromium that has nothing but a proxy with a password', () => {
    let host: Awaited<ReturnType<typeof launchChromium>>;
    /** Descriptions, but for the TCP that it can only open. */
    const gathered = { before: '', overUdp: '' };
    beforeAll(async () => {
      host = await launchChromium([
        ...flags,
        `--proxy-server=http://127.0.0.1:${proxy.port}`,
        // Loopback too.
        '--proxy-bypass-list=<-loopback>',
        '--webrtc-ip-handling-policy=disable_non_proxied_udp',
      ]);
      hosts.push(host);
      const gather = async (protocol: (typeof PROTOCOLS)[number]) => {
        await using peer = await host.newPeer();
        await peer.start({ iceServers: servers(protocol) });
        await peer.open('first');
        await peer.describe('offer');
        return (await peer.gathered()).sdp.replaceAll(/a=candidate:.* tcptype active.*\r\n/g, '');
      };
      gathered.before = await gather('tls');
      await signInToProxy(host.browser, `https://127.0.0.1:${turn.tlsPort}/`, USER);
      gathered.overUdp = await gather('udp');
    });

    it('give it nothing before a page has signed in there, and nothing over UDP after', () => {
      expect([gathered.before, gathered.overUdp].join()).not.toContain('a=candidate');
      expect(proxy.refusals).toBeGreaterThan(0);
    });

    it('carry it to us over TCP and TLS', async () => {
      for (const offerer of ['we', 'they'] as const) {
        for (const protocol of ['tcp', 'tls'] as const) {
          const [, they] = await meet(host, offerer, { theirs: relayed(protocol) });
          expect(they?.local).toMatchObject({ candidateType: 'relay', relayProtocol: protocol });
        }
      }
      expect(proxy.tunnels).toContain(`127.0.0.1:${turn.port}`);
      expect(proxy.tunnels).toContain(`localhost:${turn.tlsPort}`);
    });

    it('are not needed where the proxy leads to our TCP', async () => {
      const before = proxy.tunnels.length;
      const [we] = await meet(host, 'they', {});
      expect(we?.local).toMatchObject({ candidateType: 'host', protocol: 'tcp' });
      expect(proxy.tunnels.slice(before).length).toBeGreaterThan(0);
    });

    it('carry both of us through it', async () => {
      const way = { host: '127.0.0.1', port: proxy.port, username: USER.username, password: USER.password };
      const ours = { ...relayed('tls'), ca: turn.ca, proxy: way };
      const [we, they] = await meet(host, 'we', { ours, theirs: relayed('tls') });
      expect([we, they].map((pair) => pair?.local['relayProtocol'])).toEqual(['tls', 'tls']);
    });
  });
});

/** Chromium's statistics follow its connection after a while. */
async function selectedPair(peer: InteropPeer) {
  for (let look = 0; look < LOOKS; look += 1) {
    const reports = await peer.stats();
    const byId = new Map(reports.map((report) => [report['id'], report]));
    const transport = reports.find(({ type }) => type === 'transport');
    const pair = byId.get(transport?.['selectedCandidatePairId']);
    const [local, remote] = [byId.get(pair?.['localCandidateId']), byId.get(pair?.['remoteCandidateId'])];
    if (local && remote) return { local, remote };
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return undefined;
}
