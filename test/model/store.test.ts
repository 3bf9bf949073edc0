// Goal: `open('./data')` and `open('kv://…')` give one and the same store.
// Method: the store suite through both doors: a database on the real disk, and the SDK against a
// whole node (engine, partitions, versions, protocol) over the loopback interface.
import type { TestContext } from 'node:test'
import { startNode } from '../../src/cluster/index.ts'
import { KEY_SIZE_MAX, type KeyValueStore, open } from '../../src/index.ts'
import { storeSuite } from '../support/store-suite.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

/** Hooks run in the order in which they were set: the directory goes last. */
function directoryOf(t: TestContext, close: () => Promise<void> | undefined): string {
  t.after(() => close())
  return temporaryDirectory({ after: remove => t.after(async () => remove()) })
}

storeSuite('embedded store', {
  hasSnapshots: true,
  keySizeMax: KEY_SIZE_MAX,
  async open(t) {
    let store: KeyValueStore | undefined
    const directory = directoryOf(t, () => store?.close())
    const opened = await open(directory, { durability: 'none' })
    store = opened
    return opened
  },
})

storeSuite('remote store', {
  hasSnapshots: false,
  // A node puts the partition, two bytes, before the key.
  keySizeMax: KEY_SIZE_MAX - 2,
  async open(t) {
    const opened: { close(): Promise<void> }[] = []
    const directory = directoryOf(t, async () => {
      for (const { close } of opened) await close()
    })
    const settings = { port: 0, durability: 'none', partitionCount: 16 } as const
    const node = await startNode({ directory, ...settings })
    opened.unshift({ close: () => node.close({ graceMs: 0 }) })
    const store = await open(`kv://127.0.0.1:${node.address.port}`)
    opened.unshift({ close: () => store.close() })
    return store
  },
})
