/**
 * The network layer alone: its server with nothing behind it, against a bare node:net echo of the
 * same frames, each in a process of its own; the load comes from this one.
 *
 *   node --import tsx bench/net.bench.ts [seconds a row, default 2] [part of the rows' names]
 *
 * Rows: 1,000 raw connections with one request in flight each; one raw connection with 1,000 in
 * flight; the SDK with 1,000 callers, and with one caller that sends 1,000 at a time. The server
 * answers at once, or ("later") with a promise, as durable writes do. Subjects take turns, so that
 * a slow moment of the machine hits all; beside the rate stands the processor time that the subject
 * spent on a request, which says the same with less noise.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { connect as connectSocket, createServer, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../src/clock.ts'
import { connect, type MaybePromise, Server } from '../src/net/index.ts'
import { OutputBuffer } from '../src/net/output-buffer.ts'
import { encodeRequest, type Request } from '../src/net/request.ts'
import { systemRandom } from '../src/random.ts'
import { MemoryHandler } from '../test/support/memory-handler.ts'

const ROUNDS = 3
const CONNECTIONS = 1000
const KEY = 'user:00000000001'
const VALUE = new Uint8Array(100).fill(0x76)
const OPTIONS = {
  budgetMs: 5000,
  consistency: undefined,
  durability: undefined,
  version: undefined,
}

function frameOf(request: Request, id: number): Uint8Array {
  const output = new OutputBuffer(1024)
  encodeRequest(output, id, OPTIONS, request)
  return output.written.slice()
}

const key = new TextEncoder().encode(KEY)
const GET = frameOf({ type: 'get', key }, 1)
const PUT = frameOf({ type: 'put', key, value: VALUE, ttlMs: 0 }, 1)
const HELLO = frameOf(
  {
    type: 'hello',
    versionMin: 1,
    versionMax: 1,
    features: 0,
    clientName: 'bench',
    credentials: new Uint8Array(0),
  },
  1,
)
const GET_REPLY_SIZE = 12 + VALUE.length
const PUT_REPLY_SIZE = 12

/** Answers without work, so that only the network layer is measured. */
class FixedHandler extends MemoryHandler {
  readonly #later: boolean

  constructor(later: boolean) {
    super({ later })
    this.#later = later
  }

  override get(): MaybePromise<Uint8Array | undefined> {
    return this.#later ? Promise.resolve(VALUE) : VALUE
  }

  override put(): MaybePromise<void> {
    return this.#later ? Promise.resolve() : undefined
  }
}

async function serve(role: string): Promise<void> {
  let port: number
  if (role === 'echo') {
    const server = createServer({ noDelay: true }, socket => {
      socket.on('data', chunk => socket.write(chunk))
      socket.on('error', () => socket.destroy())
    })
    await new Promise<void>(resolve =>
      server.listen({ port: 0, host: '127.0.0.1', backlog: 1024 }, resolve),
    )
    const address = server.address()
    port = typeof address === 'object' && address !== null ? address.port : 0
  } else {
    const handler = new FixedHandler(role === 'later')
    const server = new Server({ handler, clock: systemClock(), random: systemRandom() })
    port = (await server.listen({ port: 0 })).port
  }
  process.on('message', () => {
    const { user, system } = process.cpuUsage()
    process.send?.(user + system)
  })
  process.send?.(port)
}

/** A process that is measured. */
interface Subject {
  readonly name: string
  readonly child: ChildProcess
  readonly port: number
}

function nextMessage(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('message', message => {
      child.removeListener('error', reject)
      resolve(Number(message))
    })
  })
}

async function start(name: string): Promise<Subject> {
  const child = fork(fileURLToPath(import.meta.url), [`--role=${name}`])
  return { name, child, port: await nextMessage(child) }
}

/** Microseconds of processor time that a subject has used. */
function cpuUs(subject: Subject): Promise<number> {
  const answer = nextMessage(subject.child)
  subject.child.send('cpu')
  return answer
}

/** Opens a connection; `hello` waits for the reply to HELLO. */
function open(port: number, hello: boolean): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connectSocket({ port, host: '127.0.0.1', noDelay: true }, () => {
      if (!hello) {
        resolve(socket)
        return
      }
      socket.once('data', () => resolve(socket))
      socket.write(HELLO)
    })
    socket.once('error', reject)
  })
}

/** Requests a second with `inFlight` of them under way on each connection. */
async function rawRate(
  sockets: readonly Socket[],
  frame: Uint8Array,
  replySize: number,
  inFlight: number,
  seconds: number,
): Promise<number> {
  const burst = Buffer.concat(Array.from({ length: inFlight }, () => frame))
  let replies = 0
  let stopped = false
  const ended = sockets.map(socket => {
    let missing = 0
    return new Promise<void>(resolve => {
      function send(): void {
        missing = inFlight * replySize
        socket.write(burst)
      }
      socket.on('data', (chunk: Buffer) => {
        missing -= chunk.length
        if (missing > 0) return
        replies += inFlight
        if (stopped) {
          socket.removeAllListeners('data')
          resolve()
        } else send()
      })
      send()
    })
  })
  const startMs = performance.now()
  setTimeout(() => {
    stopped = true
  }, seconds * 1000)
  await Promise.all(ended)
  return (replies / (performance.now() - startMs)) * 1000
}

async function sdkRate(
  port: number,
  operation: string,
  callers: number,
  seconds: number,
): Promise<number> {
  await using client = await connect(`kv://127.0.0.1:${port}`)
  await client.put(KEY, VALUE)
  const call = operation === 'get' ? () => client.get(KEY) : () => client.put(KEY, VALUE)
  let done = 0
  const startMs = performance.now()
  const endMs = startMs + seconds * 1000
  if (callers === 1) {
    while (performance.now() < endMs) {
      await Promise.all(Array.from({ length: 1000 }, () => call()))
      done += 1000
    }
  } else {
    async function caller(): Promise<void> {
      while (performance.now() < endMs) {
        await call()
        done++
      }
    }
    await Promise.all(Array.from({ length: callers }, caller))
  }
  return (done / (performance.now() - startMs)) * 1000
}

function median(rates: readonly number[]): number {
  return rates.toSorted((a, b) => a - b)[Math.floor(rates.length / 2)]!
}

interface Row {
  readonly name: string
  readonly subject: Subject
  /** Requests a second, and microseconds of the subject's processor a request, each round. */
  readonly rates: number[]
  readonly costs: number[]
  readonly run: (subject: Subject) => Promise<number>
}

const KINDS = [
  { kind: 'GET', frame: GET, replySize: GET_REPLY_SIZE },
  { kind: 'PUT', frame: PUT, replySize: PUT_REPLY_SIZE },
]

function rowsOf(subjects: readonly Subject[], seconds: number): Row[] {
  const rows: Row[] = []
  function add(name: string, subject: Subject, run: Row['run']): void {
    rows.push({ name: `${name}: ${subject.name}`, subject, run, rates: [], costs: [] })
  }
  for (const count of [CONNECTIONS, 1]) {
    const how = count === 1 ? '1 connection, 1,000 in flight' : '1,000 connections, 1 in flight'
    for (const { kind, frame, replySize } of KINDS) {
      for (const subject of subjects) {
        add(`${how}, ${kind}`, subject, async ({ name, port }) => {
          const isEcho = name === 'echo'
          const opening = Array.from({ length: count }, () => open(port, !isEcho))
          const sockets = await Promise.all(opening)
          const size = isEcho ? frame.length : replySize
          const rate = await rawRate(sockets, frame, size, count === 1 ? 1000 : 1, seconds)
          for (const socket of sockets) socket.destroy()
          return rate
        })
      }
    }
  }
  const servers = subjects.filter(subject => subject.name === 'server')
  for (const operation of ['get', 'put']) {
    for (const callers of [1000, 1]) {
      const who = callers === 1 ? '1 caller, 1,000 at a time' : '1,000 callers'
      for (const subject of servers) {
        add(`SDK, ${who}, ${operation}`, subject, ({ port }) =>
          sdkRate(port, operation, callers, seconds),
        )
      }
    }
  }
  return rows
}

async function main(seconds: number, only: string): Promise<void> {
  const subjects = await Promise.all(['echo', 'server', 'later'].map(start))
  for (const { name, port } of subjects) if (name !== 'echo') await sdkRate(port, 'put', 1, 0.1)
  const rows = rowsOf(subjects, seconds / ROUNDS).filter(row => row.name.includes(only))
  for (let round = 0; round < ROUNDS; round++) {
    for (const row of rows) {
      const before = await cpuUs(row.subject)
      const startMs = performance.now()
      const rate = await row.run(row.subject)
      const seconds = (performance.now() - startMs) / 1000
      row.rates.push(rate)
      row.costs.push(((await cpuUs(row.subject)) - before) / (rate * seconds))
    }
  }
  for (const { name, rates, costs } of rows) {
    const spread = `${Math.round(Math.min(...rates))} to ${Math.round(Math.max(...rates))}`
    const cost = `${median(costs).toFixed(2)} us`
    const rate = `${Math.round(median(rates))}/s`
    process.stdout.write(`${name.padEnd(52)} ${rate.padStart(10)}  ${cost}  (${spread})\n`)
  }
  for (const { child } of subjects) child.kill()
}

const role = process.argv.find(argument => argument.startsWith('--role='))?.slice(7)
if (role === undefined) await main(Number(process.argv[2] ?? 2), process.argv[3] ?? '')
else await serve(role)
