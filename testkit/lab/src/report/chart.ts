/** A line chart over time as SVG: one line a contestant, gaps where nothing was measured, marks where something happened. */

import { element, label, round, short, tooltip } from './html.ts';

export interface Series {
  readonly name: string;
  /** Index into the palette of the page. */
  readonly colour: number;
  readonly values: readonly (number | null)[];
}

export interface ChartOptions {
  readonly title: string;
  readonly unit: string;
  readonly bucketMs: number;
  /** What the x axis covers at least. */
  readonly durationMs?: number;
  readonly series: readonly Series[];
  readonly marks?: readonly { readonly atMs: number; readonly label: string }[];
  /** Logarithmic, for what spans decades. */
  readonly logarithmic?: boolean;
}

const WIDTH = 560;
const HEIGHT = 190;
const PLOT = { left: 44, right: 10, top: 24, bottom: 22 };

export function chart(options: ChartOptions): string {
  const known = options.series.flatMap(({ values }) => values.filter((value) => value !== null));
  const buckets = Math.max(
    1,
    (options.durationMs ?? 0) / options.bucketMs,
    ...options.series.map(({ values }) => values.length),
  );
  const scale = scaleOf(known, options.logarithmic ?? false);
  const x = (bucket: number) => PLOT.left + (bucket / buckets) * (WIDTH - PLOT.left - PLOT.right);
  const y = (value: number) => HEIGHT - PLOT.bottom - scale.share(value) * (HEIGHT - PLOT.top - PLOT.bottom);
  const parts = [label(`${options.title}, ${options.unit}`, { x: PLOT.left, y: 13, class: 'chart-title' })];
  for (const tick of scale.ticks) {
    parts.push(
      element('line', { x1: PLOT.left, x2: WIDTH - PLOT.right, y1: y(tick), y2: y(tick), class: 'rule' }),
      label(short(tick), { x: PLOT.left - 6, y: y(tick) + 3.5, 'text-anchor': 'end', class: 'axis' }),
    );
  }
  const seconds = (buckets * options.bucketMs) / 1000;
  const step = seconds > 16 ? 5 : seconds > 8 ? 2 : 1;
  for (let second = 0; second <= seconds; second += step) {
    const at = x((second * 1000) / options.bucketMs);
    parts.push(
      label(`${second}${second === 0 ? ' s' : ''}`, { x: at, y: HEIGHT - 6, 'text-anchor': 'middle', class: 'axis' }),
    );
  }
  for (const mark of options.marks ?? []) {
    const at = x(mark.atMs / options.bucketMs);
    if (at > WIDTH - PLOT.right) continue;
    parts.push(
      element(
        'g',
        {},
        element('line', { x1: at, x2: at, y1: PLOT.top - 4, y2: HEIGHT - PLOT.bottom, class: 'mark' }) +
          tooltip(mark.label),
      ),
    );
  }
  for (const series of options.series) {
    const path = pathOf(series.values, x, y);
    if (path === '') continue;
    parts.push(
      element(
        'g',
        { class: `line c${series.colour}`, 'data-contestant': series.name },
        element('path', { d: path }) + tooltip(series.name),
      ),
    );
  }
  return element('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', class: 'chart' }, parts.join(''));
}

function pathOf(
  values: readonly (number | null)[],
  x: (bucket: number) => number,
  y: (value: number) => number,
): string {
  let pen = 'M';
  let path = '';
  for (const [bucket, value] of values.entries()) {
    if (value === null) {
      pen = 'M';
      continue;
    }
    const [left, right, height] = [round(x(bucket)), round(x(bucket + 1)), round(y(value))];
    // A lone bucket is still seen: each is drawn as the short level line it is.
    path += `${pen}${left} ${height}H${right}`;
    pen = 'L';
  }
  return path;
}

interface Scale {
  readonly ticks: readonly number[];
  share(value: number): number;
}

function scaleOf(values: readonly number[], logarithmic: boolean): Scale {
  const highest = Math.max(...values, logarithmic ? 1 : 0.001);
  if (!logarithmic) {
    const step = niceStep(highest / 3);
    const top = Math.ceil(highest / step) * step;
    const ticks = Array.from({ length: Math.round(top / step) + 1 }, (_, index) => index * step);
    return { ticks, share: (value) => value / top };
  }
  const low = Math.floor(Math.log10(Math.max(0.1, Math.min(...values))));
  const high = Math.max(low + 1, Math.ceil(Math.log10(highest)));
  const ticks = Array.from({ length: high - low + 1 }, (_, index) => 10 ** (low + index));
  return { ticks, share: (value) => Math.max(0, (Math.log10(Math.max(value, 10 ** low)) - low) / (high - low)) };
}

function niceStep(raw: number): number {
  const power = 10 ** Math.floor(Math.log10(raw));
  return ([1, 2, 5, 10].find((factor) => factor * power >= raw) ?? 10) * power;
}
