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
