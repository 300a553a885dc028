/**
 * Serial number arithmetic (RFC 1982): TSNs, message and request numbers wrap,
 * so "later" means less than half the number space ahead.
 */

/** True when the 32-bit number `a` lies after `b`. */
export function isAfter(a: number, b: number): boolean {
  return ((a - b) | 0) > 0;
}

/** True when the 16-bit number `a` lies after `b`. */
export function isAfter16(a: number, b: number): boolean {
  return (((a - b) << 16) | 0) > 0;
}

/** How far `a` lies ahead of `b`, from 0 to 2^32 − 1. */
export function distance(a: number, b: number): number {
  return (a - b) >>> 0;
}
