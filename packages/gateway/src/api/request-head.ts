/** What the head of a request says, read so that nothing hides in it. */

import type { IncomingMessage } from 'node:http';
import type { HeaderReader } from './request-auth.ts';

/** A header given twice comes back as an array, whatever Node would make of it. */
export function headerReader(request: IncomingMessage): HeaderReader {
  return (name) => {
    const values = request.headersDistinct[name];
    return values?.length === 1 ? values[0] : values;
  };
}

export function splitTarget(request: IncomingMessage): { pathname: string; query: URLSearchParams } {
  const target = request.url ?? '';
  const mark = target.indexOf('?');
  return {
    pathname: mark < 0 ? target : target.slice(0, mark),
    query: new URLSearchParams(mark < 0 ? '' : target.slice(mark + 1)),
  };
}

/** For the log: no query, and not without end. */
export function pathOf(request: IncomingMessage): string {
  return splitTarget(request).pathname.slice(0, 128);
}
