// Goal: who waits for a thread that ends is told what is known and what to do; nobody else notices.
// Method: real threads that are ended from outside: before their job is done, by closing, and while
// they have nothing to do.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Worker } from 'node:worker_threads'
import { type DbEvent, open } from '../../src/engine/index.ts'
import type { MaintenanceJobs } from '../../src/engine/maintenance-job.ts'
import { WorkerExecutor } from '../../src/engine/worker-executor.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

type VerifyJob = MaintenanceJobs['verify']['job']

test('a thread that ends before its job is done', async t => {
  const threads = threadsFromNowOn(t)
  const executor = new WorkerExecutor(1)
  t.after(() => executor.close())
  const maintenance = executor.startMaintenance()
  // It is ended before it reads what it is to do.
  const running = maintenance.run('verify', {} as VerifyJob)
  await new Promise(resolve => process.once('worker', resolve))
  await threads[0]!.terminate()
  const advice = { code: 'KV_IO', message: /thread of a job ended: .*try again/ }
  await assert.rejects(running, advice)
  await assert.rejects(maintenance.run('verify', {} as VerifyJob), advice, 'nor is the next done')
  const another = executor.startMaintenance()
  const closed = another.run('verify', {} as VerifyJob)
  await Promise.all([another.close(), assert.rejects(closed, { code: 'KV_CLOSED' })])
})

test('a thread that ends while it has nothing to do is replaced', async t => {
  const threads = threadsFromNowOn(t)
  const db = await open(temporaryDirectory(t))
  const failures: DbEvent[] = []
  db.onEvent(event => {
    if (event.type === 'backgroundError') failures.push(event)
  })
  for (const key of ['before', 'after']) {
    await db.put(key, 'value')
    await db.compact()
    await Promise.all(threads.splice(0).map(thread => thread.terminate()))
  }
  await db.close()
  assert.deepEqual(failures, [])
})

/** Those that the process starts. */
function threadsFromNowOn(t: TestContext): Worker[] {
  const threads: Worker[] = []
  const listener = (thread: Worker) => void threads.push(thread)
  process.on('worker', listener)
  t.after(() => void process.off('worker', listener))
  return threads
}
