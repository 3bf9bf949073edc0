/**
 * Loads a file of records into Redis through ioredis with auto-pipelining, as quickly as one
 * process can: so many calls in flight, the next issued as one is answered. A program of its own,
 * as `kvcli import` is one, so that both are timed from start to exit.
 * Without a file it prints how many keys there are.
 */
import { loadPeer } from '../peers.ts'
import { type ImportRecord, readRecords } from './records.ts'

/** More did not load faster. */
const IN_FLIGHT = 10_000

const [host, port, path] = process.argv.slice(2)
if (port === undefined) throw new Error('usage: redis-loader <host> <port> [file]')

const { Redis } = loadPeer('ioredis')
const redis = new Redis({ host, port: Number(port), enableAutoPipelining: true })

async function caller(records: Generator<ImportRecord>): Promise<void> {
  for (let next = records.next(); next.done !== true; next = records.next()) {
    await redis.set(Buffer.from(next.value.key), Buffer.from(next.value.value))
  }
}

if (path === undefined) {
  process.stdout.write(`${await redis.dbsize()}\n`)
} else {
  const records = readRecords(path)
  await Promise.all(Array.from({ length: IN_FLIGHT }, () => caller(records)))
}
await redis.quit()
