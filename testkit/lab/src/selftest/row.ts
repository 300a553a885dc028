/** One line of the self-test: what the lab was asked for, and what an independent tool found. */

export interface SelftestRow {
  readonly what: string;
  readonly asked: string;
  readonly measured: string;
  readonly verdict: 'ok' | 'off';
}

/** How far a figure may be from what was asked. */
const TOLERANCE = 0.05;

export function figureRow(what: string, asked: number, measured: number, unit: string): SelftestRow {
  const off = (measured - asked) / asked;
  const percent = `${off < 0 ? '−' : '+'}${Math.abs(off * 100).toFixed(1)} %`;
  return {
    what,
    asked: `${short(asked)} ${unit}`,
    measured: `${short(measured)} ${unit} (${percent})`,
    verdict: Math.abs(off) <= TOLERANCE ? 'ok' : 'off',
  };
}

export function limitRow(
  what: string,
  relation: '<' | '≥',
  limit: number,
  measured: number,
  unit: string,
): SelftestRow {
  const holds = relation === '<' ? measured < limit : measured >= limit;
  return {
    what,
    asked: `${relation} ${short(limit)} ${unit}`,
    measured: `${short(measured)} ${unit}`,
    verdict: holds ? 'ok' : 'off',
  };
}

export function wordRow(what: string, asked: string, measured: string): SelftestRow {
  return { what, asked, measured, verdict: asked === measured ? 'ok' : 'off' };
}

/** Three significant digits, without an exponent. */
function short(value: number): string {
  if (value >= 100) return String(Math.round(value));
  return Number(value.toPrecision(3)).toString();
}
