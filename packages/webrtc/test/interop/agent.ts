/**
 * What a peer of the matrix does on command, over whichever engine it stands: one
 * connection of the W3C's API. Chromium gets this file as text, so it imports types only,
 * and says everything in JSON. A message travels as its recipe and comes back as its digest.
 */

import type { Channel, Connection, Description, Engine } from './engine.ts';

/** How a message is made; the same recipe makes the same bytes in every peer. */
export interface Recipe {
  readonly kind: 'text' | 'bytes';
  /** Bytes, of text in UTF-8. */
  readonly size: number;
  readonly seed: number;
}

export interface ChannelInit {
  readonly ordered?: boolean;
  readonly maxRetransmits?: number;
  readonly maxPacketLifeTime?: number;
  readonly protocol?: string;
  readonly negotiated?: boolean;
  readonly id?: number;
}

export interface ChannelFacts extends Required<Omit<ChannelInit, 'maxRetransmits' | 'maxPacketLifeTime'>> {
  readonly label: string;
  readonly maxRetransmits: number | null;
  readonly maxPacketLifeTime: number | null;
  readonly state: string;
}

export type CandidateInit = {
  readonly candidate: string;
  readonly sdpMid: string | null;
  readonly sdpMLineIndex: number | null;
  readonly usernameFragment: string | null;
} | null;

/** What one side has to tell the other. */
export type Signal = { readonly candidate: CandidateInit } | { readonly description: Description };

export interface AgentStates {
  readonly connection: string;
  readonly ice: string;
  readonly signaling: string;
  readonly channels: Readonly<Record<string, string>>;
}

const MULTIBYTE = 'é€😀';
const MULTIBYTE_BYTES = 9;
/** A sender waits above this, so that no engine's queue runs over. */
const HIGH_WATER_BYTES = 1024 * 1024;

export function makeMessage({ kind, size, seed }: Recipe): string | Uint8Array {
  const isText = kind === 'text';
  const prefixBytes = isText && size >= MULTIBYTE_BYTES ? MULTIBYTE_BYTES : 0;
  const bytes = new Uint8Array(size - prefixBytes);
  for (let at = 0; at < bytes.length; at += 1) {
    const value = at * 7 + (at >>> 8) * 13 + (at >>> 16) * 29 + seed * 31;
    bytes[at] = isText ? 32 + (value % 94) : value;
  }
  return isText ? (prefixBytes ? MULTIBYTE : '') + new TextDecoder('latin1').decode(bytes) : bytes;
}

/** `text 5 1a2b3c4d`: kind, bytes, FNV-1a. */
export function digest(data: string | ArrayBuffer | Uint8Array): string {
  const isText = typeof data === 'string';
  const bytes = isText ? new TextEncoder().encode(data) : new Uint8Array(data as Uint8Array);
  let hash = 0x811c9dc5;
  for (let at = 0; at < bytes.length; at += 1) hash = Math.imul(hash ^ (bytes[at] as number), 0x01000193);
  return `${isText ? 'text' : 'bytes'} ${bytes.length} ${(hash >>> 0).toString(16)}`;
}

interface Watched {
  readonly channel: Channel;
  readonly inbox: string[];
  /** By its events: in some engines `readyState` waits for another thread. */
  state: 'connecting' | 'open' | 'closed';
}

export type Agent = ReturnType<typeof createAgent>;

export function createAgent(engine: Engine, emit: (signal: Signal) => void) {
  let connection: Connection;
  const channels = new Map<string, Watched>();
  const lookers = new Set<() => void>();
  /** Names of what the peer refused in the pattern of perfect negotiation. */
  const errors: string[] = [];
  let isPolite: boolean | undefined;
  let isOffering = false;
  let isIgnoring = false;

  const changed = () => {
    for (const look of [...lookers]) look();
  };
  /** Resolves with the first value that is not undefined; looked for after each event. */
  const until = <T>(find: () => T | undefined): Promise<T> =>
    new Promise((resolve) => {
      const look = () => {
        const found = find();
        if (found === undefined) return;
        lookers.delete(look);
        resolve(found);
      };
      lookers.add(look);
      look();
    });
  const watched = (label: string): Watched => {
    const found = channels.get(label);
    if (!found) throw new Error(`there is no channel ${label.slice(0, 40)}`);
    return found;
  };
  const watch = (channel: Channel) => {
    const entry: Watched = {
      channel,
      inbox: [],
      state: channel.readyState === 'open' ? 'open' : 'connecting',
    };
    channels.set(channel.label, entry);
    channel.binaryType = 'arraybuffer';
    channel.onopen = () => {
      entry.state = 'open';
      changed();
    };
    channel.onclose = () => {
      entry.state = 'closed';
      changed();
    };
    channel.onmessage = ({ data }) => {
      entry.inbox.push(digest(data as string | ArrayBuffer));
      changed();
    };
    changed();
  };
  const factsOf = (channel: Channel): ChannelFacts => ({
    label: channel.label,
    protocol: channel.protocol,
    ordered: channel.ordered,
    maxRetransmits: channel.maxRetransmits ?? null,
    maxPacketLifeTime: channel.maxPacketLifeTime ?? null,
    negotiated: channel.negotiated,
    id: channel.id ?? -1,
    state: channel.readyState,
  });
  const sendPaced = async (channel: Channel, data: string | Uint8Array) => {
    while (channel.bufferedAmount > HIGH_WATER_BYTES) await new Promise((resolve) => setTimeout(resolve, 1));
    channel.send(data);
  };
  const isOpen = (label: string) => channels.get(label)?.state === 'open';
  const isClosed = (label: string) => watched(label).state === 'closed';
  const numbered = (prefix: string, count: number) => Array.from({ length: count }, (_, at) => `${prefix}${at}`);

  return {
    start(config: Record<string, unknown>): void {
      connection = engine.create(config);
      connection.onicecandidate = ({ candidate }) => {
        if (!candidate?.candidate) return emit({ candidate: null });
        const { candidate: line, sdpMid = null, sdpMLineIndex = null, usernameFragment = null } = candidate;
        emit({ candidate: { candidate: line, sdpMid, sdpMLineIndex, usernameFragment } });
      };
      connection.onconnectionstatechange = changed;
      connection.oniceconnectionstatechange = changed;
      connection.onicegatheringstatechange = changed;
      connection.onsignalingstatechange = changed;
      connection.ondatachannel = ({ channel }) => watch(channel);
    },
    open(label: string, init: ChannelInit = {}): void {
      watch(connection.createDataChannel(label, init));
    },
    openMany(prefix: string, count: number, init: ChannelInit = {}): void {
      for (const [at, label] of numbered(prefix, count).entries()) {
        watch(connection.createDataChannel(label, init.negotiated ? { ...init, id: (init.id ?? 0) + at } : init));
      }
    },
    describe(type: 'offer' | 'answer'): Promise<Description> {
      return engine.describe(connection, type);
    },
    /** The description once all candidates are in it. */
    gathered(): Promise<Description> {
      return until(() => {
        const { iceGatheringState, localDescription } = connection;
        return iceGatheringState === 'complete' && localDescription
          ? { type: localDescription.type, sdp: localDescription.sdp }
          : undefined;
      });
    },
    async accept(description: Description): Promise<void> {
      await connection.setRemoteDescription(description);
    },
    async candidate(candidate: CandidateInit): Promise<void> {
      if (candidate) await connection.addIceCandidate(candidate);
      else if (engine.takesEndOfCandidates) await connection.addIceCandidate(null);
    },
    restart(): void {
      connection.restartIce();
    },
    /** A section for sound, which we turn down. */
    addAudio(): void {
      connection.addTransceiver?.('audio');
    },
    /** Resolves once no offer is open and the description has other credentials than these. */
    async settled(...former: string[]): Promise<void> {
      const isNew = (description: Description | null) =>
        description !== null && former.every((fragment) => !description.sdp.includes(`a=ice-ufrag:${fragment}`));
      await until(() => {
        const { signalingState, localDescription } = connection;
        return (signalingState === 'stable' && !isOffering && isNew(localDescription)) || undefined;
      });
    },
    /** Resolves once a channel of this label is here and open. */
    async opened(label: string): Promise<ChannelFacts> {
      return factsOf((await until(() => (isOpen(label) ? watched(label) : undefined))).channel);
    },
    async openedMany(prefix: string, count: number): Promise<number[]> {
      const labels = numbered(prefix, count);
      await until(() => labels.every(isOpen) || undefined);
      return labels.map((label) => watched(label).channel.id ?? -1);
    },
    /** Resolves when each of these channels has told that it is closed. */
    async closed(...labels: string[]): Promise<void> {
      await until(() => labels.every(isClosed) || undefined);
    },
    closedMany(prefix: string, count: number): Promise<true> {
      const labels = numbered(prefix, count);
      return until(() => labels.every(isClosed) || undefined);
    },
    async send(label: string, ...recipes: Recipe[]): Promise<void> {
      for (const recipe of recipes) await sendPaced(watched(label).channel, makeMessage(recipe));
    },
    /** All in one turn, and then closes. */
    sendAndClose(label: string, recipe: Recipe, count: number): void {
      const { channel } = watched(label);
      for (let at = 0; at < count; at += 1) channel.send(makeMessage({ ...recipe, seed: recipe.seed + at }));
      channel.close();
    },
    /** One each, whose seed is the channel's number. */
    async sendEach(prefix: string, count: number, size: number): Promise<void> {
      for (const [seed, label] of numbered(prefix, count).entries()) {
        await sendPaced(watched(label).channel, makeMessage({ kind: 'bytes', size, seed }));
      }
    },
    /** The digests of the next messages, once there are that many. */
    async take(label: string, count: number): Promise<string[]> {
      return until(() => {
        const inbox = channels.get(label)?.inbox;
        return inbox && inbox.length >= count ? inbox.splice(0, count) : undefined;
      });
    },
    /** What is there now. */
    takeAll(label: string): string[] {
      return watched(label).inbox.splice(0);
    },
    /** One of each channel; how many are what {@link sendEach} sent. */
    async takeEach(prefix: string, count: number, size: number): Promise<number> {
      const labels = numbered(prefix, count);
      await until(() => labels.every((label) => (channels.get(label)?.inbox.length ?? 0) > 0) || undefined);
      const rightOnes = labels.filter(
        (label, seed) => watched(label).inbox.shift() === digest(makeMessage({ kind: 'bytes', size, seed })),
      );
      return rightOnes.length;
    },
    close(...labels: string[]): void {
      for (const label of labels) watched(label).channel.close();
    },
    closeMany(prefix: string, count: number): void {
      for (const label of numbered(prefix, count)) watched(label).channel.close();
    },
    /** So that a new channel may have the label. */
    forget(...labels: string[]): void {
      for (const label of labels) channels.delete(label);
    },
    forgetMany(prefix: string, count: number): void {
      for (const label of numbered(prefix, count)) channels.delete(label);
    },
    closeConnection(): void {
      connection?.close();
    },
    states(): AgentStates {
      const states = [...channels].slice(0, 20).map(([label, { channel }]) => [label.slice(0, 40), channel.readyState]);
      return {
        connection: connection.connectionState,
        ice: connection.iceConnectionState,
        signaling: connection.signalingState,
        channels: Object.fromEntries(states) as Record<string, string>,
      };
    },
    /** Resolves with the first of these states of the connection that it has. */
    async reached(...states: string[]): Promise<string> {
      return until(() => states.find((state) => state === connection.connectionState));
    },
    maxMessageBytes(): number {
      return connection.sctp?.maxMessageSize ?? 0;
    },
    /** Sends `size` bytes; the name of what was thrown, or undefined. */
    refusal(label: string, size: number): string | undefined {
      try {
        watched(label).channel.send(new Uint8Array(size));
        return undefined;
      } catch (error) {
        return (error as Error).name;
      }
    },
    async stats(): Promise<Record<string, unknown>[]> {
      return [...(await connection.getStats()).values()] as Record<string, unknown>[];
    },
    /** The pattern of perfect negotiation (W3C WebRTC §10.7); `signal` is told all from now on. */
    negotiate(polite: boolean): void {
      isPolite = polite;
      connection.onnegotiationneeded = async () => {
        try {
          isOffering = true;
          await connection.setLocalDescription();
          emit({ description: { type: 'offer', sdp: connection.localDescription?.sdp ?? '' } });
        } catch (error) {
          errors.push(String(error));
        } finally {
          isOffering = false;
        }
      };
    },
    async signal(signal: Signal): Promise<void> {
      try {
        if ('description' in signal) {
          const { description } = signal;
          const isGlare = description.type === 'offer' && (isOffering || connection.signalingState !== 'stable');
          isIgnoring = !isPolite && isGlare;
          if (isIgnoring) return;
          await connection.setRemoteDescription(description);
          if (description.type !== 'offer') return;
          await connection.setLocalDescription();
          emit({ description: { type: 'answer', sdp: connection.localDescription?.sdp ?? '' } });
        } else {
          await connection.addIceCandidate(signal.candidate);
        }
      } catch (error) {
        if (!isIgnoring) errors.push(String(error));
      }
    },
    errors(): string[] {
      return errors;
    },
  };
}
