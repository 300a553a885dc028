/** Text into HTML and SVG. Everything that comes out of a result passes `escape`. */

export function escape(text: string): string {
  return text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}

export type Attributes = Readonly<Record<string, string | number | undefined>>;

/** An element; `inner` is markup already. */
export function element(name: string, attributes: Attributes, inner = ''): string {
  const list = Object.entries(attributes)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}="${escape(typeof value === 'number' ? String(round(value)) : String(value))}"`);
  return `<${name}${list.join('')}>${inner}</${name}>`;
}

/** An SVG text, escaped. */
export function label(text: string, attributes: Attributes): string {
  return element('text', attributes, escape(text));
}

/** A tooltip for the element it stands in. */
export function tooltip(text: string): string {
  return element('title', {}, escape(text));
}

export function round(value: number, digits = 1): number {
  return Number(value.toFixed(digits));
}

/** 3 significant digits at most: 0.34, 5.2, 97. */
export function short(value: number): string {
  if (value === 0) return '0';
  if (value >= 100) return value.toFixed(0);
  if (value >= 10) return value.toFixed(value % 1 === 0 ? 0 : 1);
  return value.toFixed(value >= 1 ? 1 : 2);
}

export function duration(ms: number): string {
  if (ms < 1) return `${short(ms)} ms`;
  return ms < 1000 ? `${Math.round(ms)} ms` : `${short(ms / 1000)} s`;
}
