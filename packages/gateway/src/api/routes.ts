/**
 * The API as a table: each route says what it takes, what it gives and how it
 * fails; the server, the client's types and the OpenAPI document follow from it.
 */

import type { Duplex } from 'node:stream';
import type * as v from 'valibot';

/** What {@link UpgradeRoute} calls carry in `Upgrade`. */
export const STREAM_PROTOCOL = 'claw-stream';

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export interface RequestContext<Body = unknown> {
  /** By the names in the path, decoded. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  /** Checked against the route's schema; `undefined` for a route without one. */
  readonly body: Body;
  /** Aborted when the caller has gone or the server closes. */
  readonly signal: AbortSignal;
}

interface RouteBase {
  readonly method: Method;
  /** `/v1/peers/:peer`. A segment is literal or one parameter. */
  readonly path: string;
  /** One line for people, also in the OpenAPI document. */
  readonly summary: string;
  readonly body?: v.GenericSchema;
  /** Of the value, or of each item of a stream. What it does not name is not sent. */
  readonly response: v.GenericSchema;
  /** Of a success. Default 200. */
  readonly status?: number;
  /** The ClawError codes that a caller should expect, with their statuses. */
  readonly errors?: Readonly<Record<string, number>>;
}

export interface ValueRoute extends RouteBase {
  readonly stream?: false;
  handle(context: RequestContext): unknown;
}

/** Answers with NDJSON: `{"item":…}` lines, then `{"end":true}` or `{"error":…}`. */
export interface StreamRoute extends RouteBase {
  readonly stream: true;
  handle(context: RequestContext): AsyncIterable<unknown> | Promise<AsyncIterable<unknown>>;
}

export type Route = ValueRoute | StreamRoute;

/** `GET path` with `Upgrade: claw-stream`: raw bytes both ways after a 101. */
export interface UpgradeRoute {
  readonly path: string;
  readonly summary: string;
  readonly errors?: Readonly<Record<string, number>>;
  /**
   * May refuse by throwing, as an HTTP answer. What it returns is given the stream and owns it; the
   * server destroys the stream when that rejects, and when the server closes.
   */
  open(context: RequestContext): Promise<(stream: Duplex) => Promise<void>> | ((stream: Duplex) => Promise<void>);
}

type Typed<Base, Body extends v.GenericSchema, Response extends v.GenericSchema, Result> = Omit<
  Base,
  'body' | 'response' | 'handle' | 'stream'
> & {
  readonly body?: Body;
  readonly response: Response;
  handle(context: RequestContext<v.InferOutput<Body>>): Result | Promise<Result>;
};
type NoBody = v.UndefinedSchema<undefined>;

/** A route whose handler is typed by its schemas. */
export function route<Response extends v.GenericSchema, Body extends v.GenericSchema = NoBody>(
  definition: Typed<ValueRoute, Body, Response, v.InferInput<Response>>,
): ValueRoute {
  return definition;
}

/** A route that streams; its handler is typed by its schemas. */
export function streamRoute<Response extends v.GenericSchema, Body extends v.GenericSchema = NoBody>(
  definition: Typed<StreamRoute, Body, Response, AsyncIterable<v.InferInput<Response>>>,
): StreamRoute {
  return { ...definition, stream: true } as unknown as StreamRoute;
}

export interface PathMatch<T> {
  readonly route: T;
  readonly params: Readonly<Record<string, string>>;
}

/** The entries whose path fits, in the table's order; none also for a path that cannot be decoded. */
export function matchPath<T extends { readonly path: string }>(table: readonly T[], pathname: string): PathMatch<T>[] {
  const segments = pathname.split('/');
  return table.flatMap((entry) => {
    const params = paramsOf(entry.path.split('/'), segments);
    return params ? [{ route: entry, params }] : [];
  });
}

function paramsOf(pattern: readonly string[], segments: readonly string[]): Record<string, string> | undefined {
  if (pattern.length !== segments.length) return undefined;
  const params: Record<string, string> = {};
  for (const [index, part] of pattern.entries()) {
    const segment = segments[index] as string;
    if (!part.startsWith(':')) {
      if (part !== segment) return undefined;
      continue;
    }
    const value = decodeSegment(segment);
    if (!value) return undefined;
    params[part.slice(1)] = value;
  }
  return params;
}

function decodeSegment(segment: string): string | undefined {
  try {
    return decodeURIComponent(segment);
  } catch {
    return undefined;
  }
}
