/** Semantic versions (https://semver.org, §11): validity and precedence. */

const VERSION =
  /^(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})(?:-((?:0|[1-9]\d*|\d*[A-Za-z-][\dA-Za-z-]*)(?:\.(?:0|[1-9]\d*|\d*[A-Za-z-][\dA-Za-z-]*))*))?(?:\+[\dA-Za-z.-]+)?$/;

export function isVersion(text: string): boolean {
  return text.length <= 128 && VERSION.test(text);
}

/** Below zero when `a` precedes `b`. @throws RangeError unless both are semantic versions. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [partsOf(a), partsOf(b)];
  for (let i = 0; i < 3; i++) {
    const difference = (left.core[i] as number) - (right.core[i] as number);
    if (difference !== 0) return difference;
  }
  // A release comes after all of its pre-releases.
  if (left.pre.length === 0 || right.pre.length === 0) return right.pre.length - left.pre.length;
  for (let i = 0; i < Math.min(left.pre.length, right.pre.length); i++) {
    const difference = compareIdentifiers(left.pre[i] as string, right.pre[i] as string);
    if (difference !== 0) return difference;
  }
  return left.pre.length - right.pre.length;
}

function compareIdentifiers(a: string, b: string): number {
  const [aNumeric, bNumeric] = [/^\d+$/.test(a), /^\d+$/.test(b)];
  if (aNumeric && bNumeric) return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);
  if (aNumeric !== bNumeric) return aNumeric ? -1 : 1;
  return a < b ? -1 : a > b ? 1 : 0;
}

function partsOf(text: string): { core: number[]; pre: string[] } {
  const match = isVersion(text) ? VERSION.exec(text) : null;
  if (!match) throw new RangeError(`not a semantic version: ${text}`);
  return { core: match.slice(1, 4).map(Number), pre: match[4]?.split('.') ?? [] };
}
