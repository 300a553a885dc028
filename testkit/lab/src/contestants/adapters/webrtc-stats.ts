/** The candidate pair in use, out of a W3C statistics report (webrtc-stats §7). */

import type { CandidateEnd } from './ice.ts';

/** A Map from id to one dictionary of statistics. */
export interface StatsReport {
  values(): Iterable<unknown>;
}

interface Entry {
  readonly id: string;
  readonly type: string;
  readonly selectedCandidatePairId?: string;
  readonly nominated?: boolean;
  readonly state?: string;
  readonly localCandidateId?: string;
  readonly remoteCandidateId?: string;
  readonly candidateType?: string;
  readonly address?: string;
  readonly ip?: string;
  readonly protocol?: string;
  readonly relayProtocol?: string;
}

export function selectedPath(report: StatsReport): { local: CandidateEnd; remote: CandidateEnd } | undefined {
  const entries = [...report.values()] as Entry[];
  const byId = new Map(entries.map((entry) => [entry.id, entry]));
  const chosen = entries.find(({ selectedCandidatePairId }) => selectedCandidatePairId)?.selectedCandidatePairId;
  const pairs = entries.filter(({ type }) => type === 'candidate-pair');
  const pair =
    byId.get(chosen ?? '') ??
    pairs.find(({ nominated, state }) => nominated && state === 'succeeded') ??
    pairs.find(({ nominated }) => nominated);
  const local = byId.get(pair?.localCandidateId ?? '');
  const remote = byId.get(pair?.remoteCandidateId ?? '');
  return local && remote ? { local: endOf(local), remote: endOf(remote) } : undefined;
}

function endOf({ candidateType, address, ip, protocol, relayProtocol }: Entry): CandidateEnd {
  return { type: candidateType ?? 'host', address: address ?? ip, protocol, relayProtocol };
}
