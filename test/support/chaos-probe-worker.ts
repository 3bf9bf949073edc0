/**
 * A process that asks single nodes single questions: in the one that makes the load an answer waits
 * for its turn behind a thousand others, and how long a refusal takes could not be told. Gets
 * ProbeRequests and answers each with a ProbeReply. Forked by chaos/probe-process.ts.
 */
import { systemClock } from '../../src/clock.ts'
import { KvError } from '../../src/errors.ts'
import { type Client, connect } from '../../src/net/index.ts'
import type { ProbeReply, ProbeRequest } from './chaos/probe-process.ts'
import type { Probe } from './chaos/subject.ts'

const PROBE_MS_MAX = 2000
const clients = new Map<string, Promise<Client>>()

function clientOf({ url, password }: ProbeRequest): Promise<Client> {
  const known = clients.get(url)
  if (known !== undefined) return known
  const options = { connectTimeoutMs: PROBE_MS_MAX, clientName: 'chaos-probe' }
  const client = connect(url, password === undefined ? options : { ...options, password })
  clients.set(url, client)
  client.catch(() => clients.delete(url))
  return client
}

async function probe(request: ProbeRequest): Promise<Probe> {
  const clock = systemClock()
  const options = { consistency: request.consistency, timeoutMs: PROBE_MS_MAX }
  let startMs = clock.monotonicMs()
  try {
    const client = await clientOf(request)
    startMs = clock.monotonicMs()
    if (request.kind === 'read') await client.get(request.key, options)
    else await client.put(request.key, 'probe', options)
    return { error: undefined, tookMs: clock.monotonicMs() - startMs }
  } catch (error) {
    if (!(error instanceof KvError)) throw error
    return { error: error.code, tookMs: clock.monotonicMs() - startMs }
  }
}

process.on('message', (message: unknown) => {
  const request = message as ProbeRequest
  probe(request).then(
    result => process.send?.({ id: request.id, result } satisfies ProbeReply),
    error => {
      throw error
    },
  )
})
process.on('disconnect', () => process.exit())
