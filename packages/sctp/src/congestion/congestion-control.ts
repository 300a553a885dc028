/**
 * The one interface behind which congestion control stands. Bytes are those of
 * chunks with headers; rates are bytes a millisecond. An implementation keeps no
 * clock: every event brings its time.
 */

/** What one acknowledgement says. The object is reused: read it, do not keep it. */
export interface AckSample {
  nowMs: number;
  ackedBytes: number;
  /** Declared lost with this acknowledgement or since the last one. */
  lostBytes: number;
  /** In flight after the acknowledgement. */
  inFlightBytes: number;
  priorInFlightBytes: number;
  /** Not a number when this acknowledgement gave no sample. */
  rttMs: number;
  smoothedRttMs: number;
  /** The least of the last 10 to 20 s; infinite before there was one. */
  minRttMs: number;
  /** Delivered in the life of the association. */
  deliveredBytes: number;
  /** `deliveredBytes` when the newest chunk acknowledged was sent. */
  priorDeliveredBytes: number;
  /** 0 when there is no sample. */
  rateBytesPerMs: number;
  isAppLimited: boolean;
  /** The window, and not a lack of data, limited what was in flight. */
  isWindowLimited: boolean;
  /** The first loss of an episode: of a chunk sent after the last reduction. */
  startsEpisode: boolean;
}

export interface CongestionControl {
  readonly windowBytes: number;
  /** Infinite: not paced. */
  readonly paceBytesPerMs: number;
  /** Least round trip of the path as it is, where that is better known than from the least of late. */
  readonly minRttMs?: number | undefined;
  /** `sample.ackedBytes` may be 0 when only losses were found. */
  onAck(sample: AckSample): void;
  /** The retransmission timer ran out. */
  onTimeout(inFlightBytes: number, nowMs: number): void;
  setPacketBytes(packetBytes: number): void;
}

export type CongestionKind = 'rfc' | 'cubic' | 'claw';

/** A fresh sample to reuse. */
export function emptyAckSample(): AckSample {
  return {
    nowMs: 0.5,
    ackedBytes: 0,
    lostBytes: 0,
    inFlightBytes: 0,
    priorInFlightBytes: 0,
    rttMs: Number.NaN,
    smoothedRttMs: 0.5,
    minRttMs: 0.5,
    deliveredBytes: 0,
    priorDeliveredBytes: 0,
    rateBytesPerMs: 0.5,
    isAppLimited: false,
    isWindowLimited: false,
    startsEpisode: false,
  };
}
