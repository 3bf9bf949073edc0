// Goal: a node that is closed under load leaves nobody in doubt: what it had accepted is answered,
// the rest is refused as not done, and after a restart everything acknowledged is there. A member
// whose disk is full says that it does not start for that.
// Method: clients that write and read as fast as they can, through the SDK, while the node closes;
// a member on a simulated disk.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8Decode } from '../../src/bytes.ts'
import { systemClock, yieldToEventLoop } from '../../src/clock.ts'
import { type ClusterOptions, startNode } from '../../src/cluster/index.ts'
import { InlineExecutor } from '../../src/engine/index.ts'
import { KvError } from '../../src/errors.ts'
import { loadHasher } from '../../src/hash.ts'
import { type Client, connect } from '../../src/net/index.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

const CLIENTS = 8
/** Milliseconds for the clients to finish; far more than they need. */
const GRACE_MS = 10_000
/** Calls under way at a client. */
const DEPTH = 16

interface Written {
  readonly acknowledged: Map<string, string>
  readonly errors: KvError[]
}

/** Writes until it is refused. */
async function write(client: Client, name: string, { acknowledged, errors }: Written) {
  for (let count = 0; ; count++) {
    const key = `${name}:${count % 50}`
    try {
      await client.put(key, `${count}`)
      acknowledged.set(key, `${count}`)
      if (count % 10 === 0) await client.get(key)
    } catch (error) {
      assert.equal(error instanceof KvError, true, String(error))
      errors.push(error as KvError)
      return
    }
  }
}

test('closing under load answers what was accepted and loses nothing', async t => {
  const directory = temporaryDirectory({ after: remove => t.after(async () => remove()) })
  const node = await startNode({ directory, port: 0, durability: 'sync' })
  const url = `kv://127.0.0.1:${node.address.port}`
  const clients = await Promise.all(
    Array.from({ length: CLIENTS }, () => connect(url, { timeoutMs: GRACE_MS })),
  )
  const written: Written = { acknowledged: new Map(), errors: [] }
  const writers = clients.flatMap((client, index) =>
    Array.from({ length: DEPTH }, (_, lane) => write(client, `${index}/${lane}`, written)),
  )
  while (written.acknowledged.size <= 2 * CLIENTS * DEPTH) await yieldToEventLoop()
  const startMs = performance.now()
  await node.close({ graceMs: GRACE_MS })
  const closeMs = performance.now() - startMs
  assert.equal(closeMs < GRACE_MS, true, `closing took ${closeMs} ms`)
  await Promise.all(clients.map(client => client.close()))
  await Promise.all(writers)
  assert.equal(written.errors.length, CLIENTS * DEPTH)
  const inDoubt = written.errors.filter(error => error.outcome !== 'rejected')
  assert.deepEqual(
    inDoubt.map(error => error.message),
    [],
  )
  t.diagnostic(`${written.acknowledged.size} keys, closed in ${Math.round(closeMs)} ms`)

  const again = await startNode({ directory, port: 0 })
  const client = await connect(`kv://127.0.0.1:${again.address.port}`)
  assert.equal(written.acknowledged.size > CLIENTS * DEPTH, true)
  for (const [key, value] of written.acknowledged) {
    const found = await client.get(key)
    assert.equal(found && utf8Decode(found), value, key)
  }
  await client.close()
  await again.close()
})

test('a member does not start on a full disk, and says so', async () => {
  const fileSystem = new MemoryFileSystem()
  const hasher = await loadHasher()
  const executor = new InlineExecutor({ fileSystem, hasher, clock: systemClock() })
  const start = (options: Partial<ClusterOptions> = {}) => {
    const cluster = { secret: 'what all nodes know of each other', peerPort: 0, ...options }
    return startNode({ directory: '/data', port: 0, cluster }, { fileSystem, executor, hasher })
  }
  await (await start({ init: true })).close()
  fileSystem.capacity = fileSystem.usedSize
  const name = 'IoError'
  await assert.rejects(start(), { name, message: /a member .* does not start on a full disk/ })
  fileSystem.capacity = Number.POSITIVE_INFINITY
  await (await start()).close()
})
