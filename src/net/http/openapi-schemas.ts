/** The schemas of bodies in the OpenAPI document: JSON Schema, closed, so that additions show. */
import { HTTP_ERRORS, STATUS_OF_KV_CODE } from './http-error.ts'

type Json = Readonly<Record<string, unknown>>

const text = { type: 'string' }
const count = { type: 'integer', minimum: 0 }
const base64 = { type: 'string', contentEncoding: 'base64' }

function closed(properties: Json, required: readonly string[], rest: Json = {}): Json {
  return { type: 'object', properties, required, additionalProperties: false, ...rest }
}

export const ERROR = closed(
  {
    code: {
      type: 'string',
      enum: [...Object.keys(HTTP_ERRORS), ...Object.keys(STATUS_OF_KV_CODE)],
    },
    message: text,
    action: { ...text, description: 'What to do about it.' },
    outcome: { type: 'string', enum: ['unknown'], description: 'The write may have happened.' },
    retryAfterMs: { type: 'number', minimum: 0 },
  },
  ['code', 'message', 'action'],
)

/** One of two forms of a byte string. */
function either(name: string): Json {
  return { oneOf: [{ required: [name] }, { required: [`${name}64`] }] }
}

export const LINE = closed({ key: text, key64: base64, value: text, value64: base64 }, [], {
  ...either('key'),
  description: 'Text where it is UTF-8, else base64; no value where keys alone were asked for.',
})

export const BATCH = closed(
  {
    type: { type: 'string', enum: ['put', 'del'], default: 'put' },
    ...{ key: text, key64: base64, value: text, value64: base64 },
    ttl: { ...text, description: 'Such as 60s.' },
  },
  [],
  either('key'),
)

const MEMBER = closed(
  {
    nodeId: text,
    isAsked: { type: 'boolean' },
    state: text,
    rack: text,
    weight: count,
    partitions: count,
    owedWrites: count,
    isOwedEstimate: { type: 'boolean' },
    owedPartitions: count,
    clientAddress: text,
    peerAddress: text,
    liveness: text,
    forMs: { type: 'number' },
    incarnation: count,
    generation: count,
    epoch: count,
    states: { type: 'object', additionalProperties: { type: 'number' } },
  },
  [
    'nodeId',
    'isAsked',
    'state',
    'partitions',
    'owedWrites',
    'owedPartitions',
    'liveness',
    'states',
  ],
)

const LOAD = {
  atMs: count,
  reads: count,
  writes: count,
  readP50Ms: { type: ['number', 'null'] },
  readP99Ms: { type: ['number', 'null'] },
  writeP50Ms: { type: ['number', 'null'] },
  writeP99Ms: { type: ['number', 'null'] },
} as const

/** The same members, each a list. */
const HISTORY = Object.fromEntries(
  Object.entries(LOAD).map(([name, items]) => [name, { type: 'array', items }]),
)

const DOOR = closed(
  {
    connections: count,
    inFlight: count,
    requests: count,
    errors: { type: 'object', additionalProperties: count },
  },
  ['connections', 'inFlight', 'requests', 'errors'],
)

function orNull(schema: Json): Json {
  return { oneOf: [schema, { type: 'null' }] }
}

export const STATS = closed(
  {
    atMs: count,
    version: text,
    lastEvent: { ...count, description: 'The sequence of the newest event.' },
    load: orNull(closed(LOAD, Object.keys(LOAD), { description: 'The last second.' })),
    history: closed(HISTORY, Object.keys(HISTORY)),
    doors: { type: 'object', additionalProperties: DOOR },
    process: closed({ residentBytes: count }, ['residentBytes']),
    cluster: orNull({ $ref: '#/components/schemas/ClusterStatus' }),
    stats: { type: 'object', description: 'What kvcli stats shows, but for the doors.' },
  },
  ['atMs', 'version', 'lastEvent', 'load', 'doors', 'process', 'cluster', 'stats'],
)

export const EVENTS = closed(
  {
    last: { ...count, description: 'To be given as `after` next.' },
    events: {
      type: 'array',
      items: closed(
        {
          sequence: { type: 'integer', minimum: 1 },
          atMs: count,
          level: { type: 'string', enum: ['info', 'warn', 'error'] },
          kind: { ...text, description: 'log, or what happened: flush, compaction, stall.' },
          message: text,
          fields: { type: 'object' },
        },
        ['sequence', 'atMs', 'level', 'kind', 'message', 'fields'],
      ),
    },
  },
  ['last', 'events'],
)

export const RING = closed(
  {
    epoch: count,
    phase: text,
    partitionCount: count,
    replicas: { ...count, description: 'Owners of each partition.' },
    members: {
      type: 'array',
      items: closed(
        { nodeId: text, rack: text, weight: count, partitions: count, firstPartitions: count },
        ['nodeId', 'rack', 'weight', 'partitions', 'firstPartitions'],
      ),
    },
    owners: {
      ...base64,
      description:
        'Partition by partition the places in `members` of its owners, the first first: u16 ' +
        'little-endian, `replicas` of them.',
    },
  },
  ['epoch', 'phase', 'partitionCount', 'replicas', 'members', 'owners'],
)

const REPLICA = closed(
  {
    node: text,
    state: { type: 'string', enum: ['value', 'expired', 'deleted', 'absent', 'damaged', 'failed'] },
    tookMs: { type: 'number' },
    version: closed({ timeMs: count, counter: count, writer: text }, [
      'timeMs',
      'counter',
      'writer',
    ]),
    expiryMs: count,
    size: count,
    hash: text,
    error: text,
  },
  ['node', 'state', 'tookMs'],
)

export const TRACE = closed(
  {
    partition: count,
    epoch: count,
    agreed: { type: 'boolean', description: 'All replicas answered, and hold the same.' },
    replicas: { type: 'array', items: REPLICA },
  },
  ['partition', 'epoch', 'agreed', 'replicas'],
)

export const STATUS = closed(
  {
    clusterId: text,
    epoch: count,
    phase: text,
    replicationFactor: count,
    health: { type: 'string', enum: ['green', 'yellow', 'red'] },
    isWell: { type: 'boolean' },
    partitionsWithoutReplica: count,
    partitionsWithoutQuorum: count,
    members: { type: 'array', items: MEMBER },
  },
  ['clusterId', 'epoch', 'phase', 'health', 'isWell', 'members'],
)
