export {
  type CarrierComplianceOptions,
  type CarrierEnd,
  type CarrierPair,
  type CountingCarrier,
  carrierCompliance,
  type OpenCarrierPair,
  until,
} from './carrier-compliance.ts';
export { createFakeKeyHolder } from './fake-key-holder.ts';
export { fuzzRuns } from './fuzz-runs.ts';
export { MemoryCarrier, type MemoryCarrierOptions, MemoryNetwork, type Tamper } from './memory-carrier.ts';
export { MemoryRtcNetwork, type MemoryRtcOptions } from './memory-peer-connection.ts';
export { connectPair, type EngineFactory, peerConnectionCompliance } from './peer-connection-compliance.ts';
export { seededRandom } from './seeded-random.ts';
export { temporaryDirectory } from './temporary-directory.ts';
export { VirtualClock } from './virtual-clock.ts';
