// Goal: an opening that fails leaves nothing behind, and gives the directory back only when nothing
// of it writes there any more.
// Method: a file system and an executor that tell what is asked of them, and in which order.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { yieldToEventLoop } from '../../src/clock.ts'
import { InlineExecutor } from '../../src/engine/index.ts'
import { IoError } from '../../src/errors.ts'
import { openEngine } from '../support/engine-on-disk.ts'
import { FailingFileSystem } from '../support/failing-file-system.ts'
import { MemoryFileSystem } from '../support/memory-file-system.ts'

for (const life of ['that fails', 'and closing'] as const) {
  test(`opening ${life} gives the lock back after its threads have ended`, async () => {
    const story: string[] = []
    class SlowToClose extends InlineExecutor {
      override async close(): Promise<void> {
        story.push('the threads are told to end')
        for (let turn = 0; turn < 10; turn++) await yieldToEventLoop()
        await super.close()
        story.push('the threads have ended')
      }
    }
    const memory = new MemoryFileSystem()
    memory.onCall = (_index, kind, path) => void (kind === 'unlock' && story.push(`free: ${path}`))
    const disk = new FailingFileSystem(memory)
    const settings = { executor: SlowToClose, options: { coldDirectory: '/cold' } }
    if (life === 'that fails') {
      disk.fail({ fault: 'EIO', kind: 'write', path: path => path.endsWith('.wal') })
      await assert.rejects(openEngine(disk, settings), IoError)
    } else {
      const db = await openEngine(disk, settings)
      await db.close()
    }
    assert.deepEqual(story, [
      'the threads are told to end',
      'the threads have ended',
      'free: /cold',
      'free: /db',
    ])
    const again = await openEngine(memory, { options: settings.options })
    await again.close()
  })
}
