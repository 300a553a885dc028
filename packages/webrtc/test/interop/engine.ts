/** What the matrix uses of an engine's W3C API, and where engines differ in how it is called. */

export interface Description {
  readonly type: string;
  readonly sdp: string;
}

export interface Channel {
  binaryType: string;
  readonly label: string;
  readonly protocol: string;
  readonly ordered: boolean;
  readonly maxRetransmits?: number | null;
  readonly maxPacketLifeTime?: number | null;
  readonly negotiated: boolean;
  readonly id?: number | null;
  readonly readyState: string;
  readonly bufferedAmount: number;
  onopen: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  send(data: string | ArrayBuffer | Uint8Array): void;
  close(): void;
}

interface Candidate {
  readonly candidate: string;
  readonly sdpMid?: string | null;
  readonly sdpMLineIndex?: number | null;
  readonly usernameFragment?: string | null;
}

export interface Connection {
  readonly connectionState: string;
  readonly iceConnectionState: string;
  readonly iceGatheringState: string;
  readonly signalingState: string;
  readonly localDescription: Description | null;
  readonly sctp?: { readonly maxMessageSize: number } | null;
  onicecandidate: ((event: { candidate?: Candidate | null }) => void) | null;
  onconnectionstatechange: ((event: never) => void) | null;
  oniceconnectionstatechange: ((event: never) => void) | null;
  onicegatheringstatechange: ((event: never) => void) | null;
  onsignalingstatechange: ((event: never) => void) | null;
  onnegotiationneeded: ((event: never) => unknown) | null;
  ondatachannel: ((event: { readonly channel: Channel }) => void) | null;
  createDataChannel(label: string, init: object): Channel;
  addTransceiver?(kind: string): unknown;
  createOffer(): Promise<Description>;
  createAnswer(): Promise<Description>;
  setLocalDescription(description?: Description): Promise<unknown>;
  setRemoteDescription(description: Description): Promise<unknown>;
  addIceCandidate(candidate: unknown): Promise<unknown>;
  restartIce(): void;
  getStats(): Promise<{ values(): Iterable<unknown> }>;
  close(): unknown;
}

export interface Engine {
  create(config: Record<string, unknown>): Connection;
  /** Makes the description, sets it and gives it with the candidates gathered so far. */
  describe(connection: Connection, type: 'offer' | 'answer'): Promise<Description>;
  /** Whether `addIceCandidate` knows null. */
  readonly takesEndOfCandidates: boolean;
}
