/**
 * What a TypeScript source imports, without a compiler: comments are blanked by
 * a scanner that knows strings, templates and regular expressions, then the few
 * forms of an import are matched. Type imports count.
 */

const IMPORT_FORMS = [
  /(?:^|[;}\n])\s*(?:import|export)\b[^;'"`()]*?\bfrom\s*(['"])([^'"\n]+)\1/g,
  /(?:^|[;}\n])\s*import\s*(['"])([^'"\n]+)\1/g,
  /\bimport\s*\(\s*(['"])([^'"\n]+)\1/g,
  /\brequire\s*\(\s*(['"])([^'"\n]+)\1/g,
];

/** The module specifiers that `source` names, each once. */
export function importedSpecifiers(source: string): string[] {
  const code = withoutComments(source, 'keep names');
  const found = new Set<string>();
  for (const form of IMPORT_FORMS) for (const match of code.matchAll(form)) found.add(match[2] as string);
  return [...found];
}

/** `source` with comments and the insides of quoted strings blanked; kept are, if asked for, strings without white space. */
export function withoutComments(source: string, strings: 'keep names' | 'blank strings'): string {
  let out = '';
  let at = 0;
  while (at < source.length) {
    const end = tokenEnd(source, at, out);
    const token = source.slice(at, end);
    const quoted = token.length > 1 && (token[0] === "'" || token[0] === '"');
    if (token.startsWith('//') || token.startsWith('/*')) out += token.replace(/[^\n]/g, ' ');
    else if (quoted && (strings === 'blank strings' || /\s/.test(token))) out += `'${' '.repeat(token.length - 2)}'`;
    else out += token;
    at = end;
  }
  return out;
}

/** Where the token that starts at `at` ends; plain code advances one character at a time. */
function tokenEnd(source: string, at: number, before: string): number {
  const character = source[at] as string;
  if (source.startsWith('//', at)) return indexOrEnd(source, '\n', at);
  if (source.startsWith('/*', at)) return Math.min(source.length, indexOrEnd(source, '*/', at + 2) + 2);
  if (character === "'" || character === '"') return closing(source, at, character);
  if (character === '/' && startsRegularExpression(before)) return closing(source, at, '/');
  return at + 1;
}

/** The index after the closing `mark`, skipping escapes; a line break ends an unclosed one. */
function closing(source: string, start: number, mark: string): number {
  let inClass = false;
  for (let at = start + 1; at < source.length; at += 1) {
    const character = source[at];
    if (character === '\\') at += 1;
    else if (character === '\n') return at;
    else if (mark === '/' && character === '[') inClass = true;
    else if (mark === '/' && character === ']') inClass = false;
    else if (character === mark && !inClass) return at + 1;
  }
  return source.length;
}

/** A slash divides after a value and opens a regular expression after an operator or a keyword. */
function startsRegularExpression(before: string): boolean {
  return /(?:^|[=(,:[!&|?{};+\-*%<>~^]|\b(?:return|typeof|case|in|of))\s*$/.test(before.slice(-40));
}

function indexOrEnd(source: string, text: string, from: number): number {
  const found = source.indexOf(text, from);
  return found < 0 ? source.length : found;
}
