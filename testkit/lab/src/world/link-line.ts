/** A `LinkSpec` in the words of netd's `link` command. */

import type { LinkSpec } from '@claw/scenarios';

const MIN_QUEUE_BYTES = 32 * 1024;

export function formatLink(link: LinkSpec): string {
  const { loss, reorder, tokenBucket } = link;
  const words: string[] = [];
  const add = (key: string, ...values: (number | undefined)[]) => {
    if (values.every((value) => value !== undefined)) words.push(`${key}=${values.map(decimal).join(',')}`);
  };
  add('above', link.dropAboveBytes);
  if (loss?.model === 'bernoulli') add('loss', loss.share);
  if (loss?.model === 'gilbert-elliott') add('ge', loss.goodToBad, loss.badToGood, loss.lossInGood, loss.lossInBad);
  add('corrupt', link.corruptShare);
  add('duplicate', link.duplicateShare);
  const rate = tokenBucket?.rateBitsPerSecond ?? link.rateBitsPerSecond;
  if (tokenBucket) add('bucket', tokenBucket.rateBitsPerSecond, tokenBucket.burstBytes);
  else add('rate', rate);
  if (rate !== undefined) add('queue', link.queueBytes ?? defaultQueueBytes(rate, link.delayMs ?? 0));
  add('delay', nanoseconds(link.delayMs));
  add('jitter', nanoseconds(link.jitterMs));
  if (reorder) add('reorder', reorder.share, nanoseconds(reorder.holdMs));
  return words.join(' ');
}

/** One bandwidth-delay product of twice the delay. */
function defaultQueueBytes(bitsPerSecond: number, delayMs: number): number {
  return Math.max(MIN_QUEUE_BYTES, Math.round((bitsPerSecond / 8) * ((delayMs * 2) / 1000)));
}

function nanoseconds(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : Math.round(ms * 1e6);
}

/** Without an exponent, which netd takes too but people do not read. */
function decimal(value: number | undefined): string {
  return value === undefined ? '' : value.toLocaleString('en-US', { useGrouping: false, maximumFractionDigits: 12 });
}
