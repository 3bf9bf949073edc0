/**
 * The OpenAPI 3.1 document of this door. test/net/http-document.test.ts validates it, and holds a
 * running server against it: every path, status and body of it occurs, and no other.
 */
import { BATCH, ERROR, EVENTS, LINE, RING, STATS, STATUS, TRACE } from './openapi-schemas.ts'

type Json = Readonly<Record<string, unknown>>

const DURATION = '^\\d+(\\.\\d+)?(ms|s|m|h|d)$'

function query(name: string, description: string, schema: Json): Json {
  return { name, in: 'query', required: false, description, schema }
}

function header(name: string, description: string): Json {
  return { name, in: 'header', required: false, description, schema: { type: 'string' } }
}

const text = { type: 'string' }
const bytes = { type: 'string', contentMediaType: 'application/octet-stream' }
const duration = { type: 'string', pattern: DURATION }

const KEY = {
  name: 'key',
  in: 'path',
  required: true,
  description: 'Any 1 to 65,533 bytes, percent-encoded; slashes may stand as they are.',
  schema: { type: 'string', minLength: 1 },
}
const TIMEOUT = query('timeout', 'Fails with 504 without an answer until then.', duration)
const CONSISTENCY = query('consistency', 'How many replicas must have answered.', {
  type: 'string',
  enum: ['one', 'quorum', 'all'],
})
const DURABILITY = query('durability', 'What an acknowledged write has survived.', {
  type: 'string',
  enum: ['sync', 'interval', 'none'],
})
const IF_MATCH = header('If-Match', 'Only while the key has one of these versions, or any (*).')
const IF_NONE_MATCH = header('If-None-Match', 'Only unless it has one of these, or any (*).')

function content(type: string, schema: Json): Json {
  return { content: { [type]: { schema } } }
}

function reply(description: string, rest: Json = {}): Json {
  return { description, ...rest }
}

const ETAG = { ETag: { description: 'The version of the write.', schema: text } }

/** Errors that any request may meet. */
const FAILURES: Readonly<Record<string, string>> = {
  400: 'The request is wrong; the message says what was expected.',
  401: 'The node asks for a user and a password.',
  403: 'The user may not do this; or a web page from elsewhere, or a name that is not served.',
  500: 'The server or its disk failed.',
  503: 'Not now: see Retry-After.',
  504: 'No answer in time.',
}

/** Errors that some requests may meet. */
const OTHER_FAILURES: Readonly<Record<string, string>> = {
  404: 'There is no such key.',
  412: 'The condition does not hold.',
  413: 'The body is too large.',
  415: 'The body is not of a type that is taken.',
  501: 'Conditions of writes are not offered by a cluster of several nodes.',
}

function responses(own: Json, ...others: readonly number[]): Record<string, unknown> {
  const codes = [...Object.keys(FAILURES), ...others.map(String)]
  const errors = codes.map(code => {
    const description = FAILURES[code] ?? OTHER_FAILURES[code]!
    return [code, reply(description, content('application/json', ref('Error')))] as const
  })
  return { ...own, ...Object.fromEntries(errors) }
}

function ref(name: string): Json {
  return { $ref: `#/components/schemas/${name}` }
}

function operation(operationId: string, summary: string, rest: Json): Json {
  return { operationId, summary, ...rest }
}

const OPEN = { security: [] }

function keyOperations(): Json {
  const read = [CONSISTENCY, TIMEOUT, IF_MATCH, IF_NONE_MATCH]
  const write = [CONSISTENCY, DURABILITY, TIMEOUT, IF_MATCH, IF_NONE_MATCH]
  const found = { headers: ETAG, ...content('application/octet-stream', bytes) }
  const got = {
    200: reply('The value, as it is.', found),
    304: reply('Nothing has changed.', { headers: ETAG }),
  }
  const done = { 204: reply('It is as durable as asked.') }
  const written = { 204: reply('It is as durable as asked.', { headers: ETAG }) }
  return {
    parameters: [KEY],
    get: operation('getKey', 'Reads a value', {
      parameters: read,
      responses: responses(got, 404, 412),
    }),
    head: operation('headKey', 'Reads what is known of a value', {
      parameters: read,
      responses: responses({ ...got, 200: reply('As GET, without the value.') }, 404, 412),
    }),
    put: operation('putKey', 'Writes a value', {
      parameters: [...write, query('ttl', 'Expires after that.', duration)],
      requestBody: content('application/octet-stream', bytes),
      responses: responses(written, 412, 413, 501),
    }),
    delete: operation('deleteKey', 'Deletes a key, whether it is there or not', {
      parameters: write,
      responses: responses(done, 412, 501),
    }),
  }
}

function scanOperation(): Json {
  const bound = (name: string): Json => query(name, `Keys ${name} this, percent-encoded.`, text)
  const flag = { type: 'boolean' }
  return {
    get: operation('scan', 'Streams the entries of a range, a line each', {
      parameters: [
        ...[query('prefix', 'Keys that begin so.', text), bound('gt'), bound('gte')],
        ...[bound('lt'), bound('lte')],
        query('limit', 'At most so many.', { type: 'integer', minimum: 1 }),
        { ...query('reverse', 'From the end.', flag), allowEmptyValue: true },
        { ...query('keys_only', 'Without values.', flag), allowEmptyValue: true },
        ...[CONSISTENCY, TIMEOUT],
      ],
      responses: responses({
        200: reply('Lines; an error line without a last chunk where it failed.', {
          ...content('application/x-ndjson', ref('Line')),
        }),
      }),
    }),
  }
}

function batchOperation(): Json {
  const count = { type: 'object', properties: { operations: { type: 'integer' } } }
  const closed = { ...count, required: ['operations'], additionalProperties: false }
  return {
    post: operation('batch', 'Writes all or nothing', {
      parameters: [CONSISTENCY, DURABILITY, TIMEOUT],
      requestBody: {
        required: true,
        content: {
          'application/json': { schema: { type: 'array', items: ref('Operation') } },
          'application/x-ndjson': { schema: ref('Operation') },
        },
      },
      responses: responses(
        { 200: reply('All of it happened.', content('application/json', closed)) },
        413,
        415,
      ),
    }),
  }
}

/** What a handler is asked for, or not, in which case it can neither fail nor hang. */
function readOnly(
  id: string,
  summary: string,
  own: Json,
  { isStatic = false, ...rest }: Json & { readonly isStatic?: boolean } = {},
): Json {
  const { 500: failed, 504: late, ...others } = responses(own)
  const asked = isStatic ? {} : { 500: failed, 504: late }
  const shared = { ...rest, responses: { ...others, ...asked } }
  return {
    get: operation(id, summary, shared),
    head: operation(`${id}Head`, `${summary}: the head alone`, shared),
  }
}

/** Nobody needs a password for it. `mayFail`: it asks the handler. */
function probe(id: string, summary: string, mayFail: boolean): Json {
  const body = content('text/plain', text)
  const { 401: _, 500: failed, 503: full, 504: late, ...others } = responses({})
  const error = content('application/json', ref('Error'))
  const unready = { content: { ...(body['content'] as Json), ...(error['content'] as Json) } }
  const failures = { 500: failed, 503: reply('No, and why.', unready), 504: late }
  const own = { 200: reply('Yes.', body), ...others, 503: full, ...(mayFail ? failures : {}) }
  const flag = query('verbose', 'Lists what was looked at.', { type: 'boolean' })
  const shared = { ...OPEN, parameters: [{ ...flag, allowEmptyValue: true }], responses: own }
  return {
    get: operation(id, summary, shared),
    head: operation(`${id}Head`, `${summary} The head alone.`, shared),
  }
}

/** What the dashboard is made of. */
function watchPaths(): Json {
  const json = (description: string, schema: string) => ({
    200: reply(description, content('application/json', ref(schema))),
  })
  const history = query('history', 'The five minutes before as well.', { type: 'boolean' })
  const after = query('after', 'Only events with a higher sequence.', {
    type: 'integer',
    minimum: 0,
  })
  return {
    '/v1/stats': readOnly(
      'stats',
      'The figures of this node, new every second',
      json('Them.', 'Stats'),
      {
        parameters: [{ ...history, allowEmptyValue: true }],
      },
    ),
    '/v1/events': readOnly(
      'events',
      'What happened on this node',
      json('Oldest first.', 'Events'),
      {
        parameters: [after],
        isStatic: true,
      },
    ),
    '/v1/ring': readOnly('ring', 'Who owns which partition', json('Of this epoch.', 'Ring')),
    '/v1/trace/{key}': readOnly(
      'trace',
      'What each replica has of a key, and whether they agree',
      json('From all of them.', 'Trace'),
      { parameters: [KEY, TIMEOUT] },
    ),
  }
}

export function openapiDocument(version: string): Json {
  return {
    openapi: '3.1.0',
    info: {
      title: 'Duramen',
      version: version === '' ? '0' : version,
      description: 'A durable, replicated key-value store. HTTP.md says more.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/' }],
    security: [{}, { basic: [] }, { bearer: [] }],
    paths: {
      '/v1/kv/{key}': keyOperations(),
      '/v1/kv': scanOperation(),
      '/v1/batch': batchOperation(),
      '/v1/cluster': readOnly(
        'cluster',
        'How the cluster and its members are',
        { 200: reply('As this node sees it.', content('application/json', ref('ClusterStatus'))) },
        { parameters: [TIMEOUT] },
      ),
      ...watchPaths(),
      '/v1/openapi.json': readOnly(
        'openapi',
        'This document',
        { 200: reply('It.', content('application/json', { type: 'object' })) },
        { isStatic: true },
      ),
      '/metrics': readOnly('metrics', 'Metrics in the text format of Prometheus', {
        200: reply('Samples.', content('text/plain', text)),
      }),
      '/livez': probe('livez', 'Does it answer at all?', false),
      '/readyz': probe('readyz', 'Should clients be sent here?', true),
    },
    components: {
      schemas: {
        ...{ Error: ERROR, Line: LINE, Operation: BATCH, ClusterStatus: STATUS },
        ...{ Stats: STATS, Events: EVENTS, Ring: RING, Trace: TRACE },
      },
      securitySchemes: {
        basic: { type: 'http', scheme: 'basic' },
        bearer: { type: 'http', scheme: 'bearer', description: 'The password alone.' },
      },
    },
  }
}
