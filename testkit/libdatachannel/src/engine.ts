/** The engine that carries the first version: libdatachannel through `node-datachannel`. */

import type { RtcConfiguration, RtcEngine } from '@claw/contracts';
import { getLibraryVersion, setSctpSettings } from 'node-datachannel';
import { callNative } from './errors.ts';
import { type NativeSettings, NodePeerConnection } from './peer-connection.ts';

export interface NodeDataChannelEngineOptions {
  /** Largest IP packet on the path, in bytes. Default 1,400: 12 % less CPU than the library's 1,280. */
  readonly mtu?: number;
  /** Largest message that is received, in bytes. Default 262,144. */
  readonly maxMessageSize?: number;
  /** Use this local address only. Default: all but loopback. */
  readonly bindAddress?: string;
  /** First and last local UDP port. Default: any. */
  readonly portRange?: readonly [number, number];
  /**
   * SCTP's own send buffer, in bytes, for all connections of the process made later. Default 1 MiB, the library's.
   * Everything in it goes out before a message of any channel that comes after: with 256 KiB a small message beside a
   * bulk transfer takes 8 ms in place of 30 here, but a path carries no more than this much a round trip.
   */
  readonly sctpSendBufferBytes?: number;
  /** Told of what the owner's event handlers throw. Default: a process warning. */
  readonly onHandlerError?: (error: unknown) => void;
}

/**
 * Load it in one thread only: the library aborts a process that loads it in two.
 * Connections keep the process alive until they are closed.
 */
export function createNodeDataChannelEngine(options: NodeDataChannelEngineOptions = {}): RtcEngine {
  const settings: NativeSettings = {
    mtu: options.mtu ?? 1400,
    maxMessageSize: options.maxMessageSize ?? 256 * 1024,
    ...(options.bindAddress === undefined ? {} : { bindAddress: options.bindAddress }),
    ...(options.portRange ? { portRangeBegin: options.portRange[0], portRangeEnd: options.portRange[1] } : {}),
  };
  const { sctpSendBufferBytes } = options;
  if (sctpSendBufferBytes !== undefined) {
    callNative('set the send buffer', () => setSctpSettings({ sendBufferSize: sctpSendBufferBytes }));
  }
  const report = options.onHandlerError ?? warn;
  const onHandlerError = (error: unknown) => {
    try {
      report(error);
    } catch (second) {
      warn(second);
    }
  };
  return {
    name: `libdatachannel ${getLibraryVersion()}`,
    createPeerConnection: (configuration: RtcConfiguration) =>
      new NodePeerConnection(configuration, settings, onHandlerError),
  };
}

function warn(error: unknown): void {
  process.emitWarning(error instanceof Error ? error : new Error(String(error)));
}
