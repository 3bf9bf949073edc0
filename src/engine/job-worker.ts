/**
 * The entry point of a job worker thread: runs one job after another with synchronous file calls.
 */
import { parentPort } from 'node:worker_threads'
import { assert } from '../assert.ts'
import { systemClock } from '../clock.ts'
import { loadHasher } from '../hash.ts'
import { BufferPool } from './buffer-pool.ts'
import { nodeFileSystem } from './node-file-system.ts'
import { runJob } from './run-job.ts'
import { runMaintenance } from './run-maintenance.ts'
import {
  encodeFailure,
  type JobReply,
  type JobRequest,
  type JobTask,
  type TaskResult,
} from './worker-messages.ts'

assert(parentPort !== null, 'this module is the entry of a worker thread')
const port = parentPort
/** Bytes of buffers that lie unused at most: all of a merge of many runs into large tables. */
const SPARE_BYTES_MAX = 20 * 1024 * 1024
const environment = {
  fileSystem: nodeFileSystem(),
  hasher: await loadHasher(),
  clock: systemClock(),
  buffers: new BufferPool(SPARE_BYTES_MAX),
}

async function run(task: JobTask): Promise<TaskResult> {
  if (task.type === 'job') return runJob(task.job, environment)
  return await runMaintenance(task.kind, task.job, environment)
}

/** Never rejects. */
async function answer({ id, task }: JobRequest): Promise<void> {
  let reply: JobReply
  try {
    reply = { id, result: await run(task) }
  } catch (error) {
    reply = { id, failure: encodeFailure(error) }
  }
  port.postMessage(reply)
}

port.on('message', (request: JobRequest) => void answer(request))
