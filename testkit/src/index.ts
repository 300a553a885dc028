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
export { MemoryCarrier, type MemoryCarrierOptions, MemoryNetwork, type Tamper } from './memory-carrier.ts';
export { VirtualClock } from './virtual-clock.ts';
