/** Bytes to an HTTP server as they are, and what comes back, told apart into answers. */
import { connect } from 'node:net'

export interface RawAnswer {
  readonly status: number
  /** By name in small letters. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
}

export interface RawTalk {
  readonly answers: readonly RawAnswer[]
  /** What came behind the last whole answer. */
  readonly rest: Buffer
}

/**
 * Writes all, and resolves once the server has closed, or `count` answers are there. `isHead`: the
 * answers have no bodies.
 */
export function talk(
  port: number,
  bytes: string | Uint8Array,
  { count = Number.POSITIVE_INFINITY, isHead = false } = {},
): Promise<RawTalk> {
  return new Promise(resolve => {
    let input: Buffer = Buffer.alloc(0)
    const socket = connect({ host: '127.0.0.1', port })
    const done = (): void => {
      socket.destroy()
      resolve(parseAnswers(input, isHead))
    }
    socket.on('data', chunk => {
      input = Buffer.concat([input, chunk])
      if (parseAnswers(input, isHead).answers.length >= count) done()
    })
    socket.on('error', done)
    socket.on('end', done)
    socket.write(bytes)
  })
}

const HEAD_END = '\r\n\r\n'

function parseAnswers(input: Buffer, isHead: boolean): RawTalk {
  const answers: RawAnswer[] = []
  let at = 0
  for (;;) {
    const end = input.indexOf(HEAD_END, at)
    if (end < 0) break
    const [first = '', ...lines] = input.toString('latin1', at, end).split('\r\n')
    const headers = Object.fromEntries(
      lines.map(line => {
        const colon = line.indexOf(':')
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const
      }),
    )
    const start = end + HEAD_END.length
    const size = isHead ? 0 : Number(headers['content-length'] ?? 0)
    if (headers['transfer-encoding'] === 'chunked' || start + size > input.length) break
    const status = Number(first.split(' ')[1])
    answers.push({ status, headers, body: input.subarray(start, start + size) })
    at = start + size
  }
  return { answers, rest: input.subarray(at) }
}

/** A request of HTTP/1.1, its header fields one string each. */
export function rawRequest(line: string, fields: readonly string[] = [], body = ''): string {
  return [`${line} HTTP/1.1`, 'Host: localhost', ...fields, '', body].join('\r\n')
}
