/** The route table as an OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.1.html). */

import type { GenericSchema } from 'valibot';
import { NONCE_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER } from './request-auth.ts';
import type { Route, UpgradeRoute } from './routes.ts';

export interface OpenApiOptions {
  readonly version: string;
}

const ERROR_SCHEMA = {
  type: 'object',
  required: ['error'],
  properties: {
    error: {
      type: 'object',
      required: ['code', 'message'],
      properties: { code: { type: 'string' }, message: { type: 'string' }, hint: { type: 'string' } },
    },
  },
};

/** The converter is loaded here only: a daemon that is never asked for the document never holds it. */
export async function buildOpenApi(
  routes: readonly Route[],
  upgrades: readonly UpgradeRoute[],
  options: OpenApiOptions,
) {
  const { toJsonSchema } = await import('@valibot/to-json-schema');
  const schemaOf = (schema: GenericSchema, typeMode: 'input' | 'output') => {
    const { $schema: _, ...json } = toJsonSchema(schema, { errorMode: 'ignore', typeMode });
    return json;
  };
  const paths: Record<string, Record<string, unknown>> = {};
  const add = (path: string, method: string, operation: object) => {
    const template = path.replace(/:([A-Za-z]+)/g, '{$1}');
    const parameters = [...path.matchAll(/:([A-Za-z]+)/g)].map(([, name]) => ({
      name,
      in: 'path',
      required: true,
      schema: { type: 'string' },
    }));
    paths[template] = {
      ...paths[template],
      [method]: { ...operation, ...(parameters.length > 0 ? { parameters } : {}) },
    };
  };
  for (const route of routes) {
    const type = route.stream ? 'application/x-ndjson' : 'application/json';
    add(route.path, route.method.toLowerCase(), {
      summary: route.summary,
      ...(route.body
        ? {
            requestBody: { required: true, content: { 'application/json': { schema: schemaOf(route.body, 'input') } } },
          }
        : {}),
      responses: {
        [route.status ?? 200]: {
          description: route.stream ? 'Lines {"item":…}, then {"end":true} or {"error":…}' : 'Success',
          content: { [type]: { schema: schemaOf(route.response, 'output') } },
        },
        ...failures(route.errors),
      },
    });
  }
  for (const { path, summary, errors } of upgrades) {
    const responses = { 101: { description: 'The connection carries raw bytes from here' }, ...failures(errors) };
    add(path, 'get', { summary: `${summary} (Upgrade: claw-stream)`, responses });
  }
  return {
    openapi: '3.1.0',
    info: { title: 'OpenClaw gateway, local API', version: options.version },
    components: {
      schemas: { Error: ERROR_SCHEMA },
      securitySchemes: Object.fromEntries(
        [TIMESTAMP_HEADER, NONCE_HEADER, SIGNATURE_HEADER].map((name) => [
          name,
          { type: 'apiKey', in: 'header', name },
        ]),
      ),
    },
    security: [{ [TIMESTAMP_HEADER]: [], [NONCE_HEADER]: [], [SIGNATURE_HEADER]: [] }],
    paths,
  };
}

function failures(errors: Readonly<Record<string, number>> = {}): Record<string, object> {
  const codes = new Map<number, string[]>();
  for (const [code, status] of Object.entries(errors)) codes.set(status, [...(codes.get(status) ?? []), code]);
  const content = { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } };
  const declared = [...codes].map(([status, names]) => [String(status), { description: names.join(', '), content }]);
  return Object.fromEntries([...declared, ['default', { description: 'Any other error', content }]]);
}
