/**
 * Seeded chance for each part of the network, by name: what a link draws does
 * not depend on what others drew, so a change in one place leaves the rest of a
 * run as it was. Generator: sfc32; the name is hashed by FNV-1a.
 */

import type { Random } from '@claw/base';

const WARM_UP = 12;

export function randomStream(seed: number, name: string): Random {
  let a = seed >>> 0;
  let b = hash(name, 0x811c9dc5);
  let c = hash(name, Math.floor(seed / 2 ** 32) ^ 0x9e3779b9);
  let counter = 1;
  const next = () => {
    const mixed = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + mixed;
    return mixed >>> 0;
  };
  for (let round = 0; round < WARM_UP; round += 1) next();
  return {
    bytes: (length) => Buffer.from(Array.from({ length }, () => next() & 255)),
    fraction: () => next() / 2 ** 32,
  };
}

function hash(text: string, basis: number): number {
  let value = basis;
  for (let index = 0; index < text.length; index += 1) value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  return value | 0;
}
