/**
 * Runs jobs on worker threads, one job a thread at a time.
 *
 * Workers use synchronous file calls, which do not occupy libuv's pool of four threads; through
 * that pool, four 32 MiB fsyncs in flight made a cached 4 KiB read wait 34 to 49 ms.
 *
 * Invariants:
 *  1. Threads are started when first needed and kept; an idle one does not keep the process alive.
 *     Those for maintenance are not among them: each belongs to who started it.
 *  2. A thread that dies fails its job, and the next job gets a new thread.
 */
import { Worker, type WorkerOptions } from 'node:worker_threads'
import { assert } from '../assert.ts'
import { ClosedError, IoError, NotFoundError, toError } from '../errors.ts'
import { systemErrorCode } from './file-system.ts'
import type { Executor, Job, JobResult } from './job.ts'
import type { MaintenanceJobs, MaintenanceKind, MaintenanceThread } from './maintenance-job.ts'
import {
  decodeFailure,
  type JobReply,
  type JobRequest,
  type JobTask,
  type TaskResult,
} from './worker-messages.ts'

/** Bytes of JavaScript heap a job thread may use; its large buffers are outside of the heap. */
const HEAP_SIZE_MAX_MIB = 256
/**
 * Of which that of young objects. Jobs make little garbage, all of it short-lived, so a small one
 * costs them nothing, where the default lets each thread keep 48 MiB.
 */
const YOUNG_SIZE_MAX_MIB = 4
const RESOURCE_LIMITS = {
  maxOldGenerationSizeMb: HEAP_SIZE_MAX_MIB,
  maxYoungGenerationSizeMb: YOUNG_SIZE_MAX_MIB,
}

export class WorkerExecutor implements Executor {
  readonly #threadsMax: number
  readonly #idle: JobThread[] = []
  readonly #threads = new Set<JobThread>()
  readonly #waiting: (() => void)[] = []
  readonly #maintenance = new Set<JobThread>()
  #closed = false

  /**
   * Jobs above `threadsMax` at once wait for a thread. Throws NotFoundError in a bundle that has no
   * place for them.
   */
  constructor(threadsMax: number) {
    assert(threadsMax >= 1, 'at least one thread runs jobs')
    checkPlace()
    this.#threadsMax = threadsMax
  }

  /** Starts a thread, which takes a tenth of a second. */
  prepare(): void {
    if (this.#closed || this.#threads.size > 0) return
    const thread = new JobThread()
    this.#threads.add(thread)
    this.#idle.push(thread)
  }

  async run(job: Job): Promise<JobResult> {
    const thread = await this.#take(job.kind)
    try {
      // The result of a job is a JobResult: see TaskResult.
      return (await thread.run({ type: 'job', job })) as JobResult
    } finally {
      this.#giveBack(thread)
    }
  }

  startMaintenance(): MaintenanceThread {
    if (this.#closed) throw new ClosedError('the executor is closed')
    const thread = new JobThread()
    this.#maintenance.add(thread)
    let last: Promise<unknown> = Promise.resolve()
    return {
      run<Kind extends MaintenanceKind>(kind: Kind, job: MaintenanceJobs[Kind]['job']) {
        type Result = MaintenanceJobs[Kind]['result']
        const result = last.then(() => thread.run({ type: 'maintenance', kind, job }))
        last = result.catch(ignore)
        return result as Promise<Result>
      },
      close: async () => {
        this.#maintenance.delete(thread)
        await thread.close()
      },
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const wake of this.#waiting.splice(0)) wake()
    const threads = [...this.#threads, ...this.#maintenance]
    await Promise.all(threads.map(thread => thread.close()))
    this.#maintenance.clear()
    this.#threads.clear()
    this.#idle.length = 0
  }

  async #take(kind: Job['kind']): Promise<JobThread> {
    while (!this.#closed) {
      const idle = this.#idleFor(kind)
      if (idle !== undefined) {
        idle.lastKind = kind
        return idle
      }
      if (this.#threads.size < this.#threadsMax) {
        const thread = new JobThread()
        thread.lastKind = kind
        this.#threads.add(thread)
        return thread
      }
      await new Promise<void>(resolve => this.#waiting.push(resolve))
    }
    throw new ClosedError('the executor is closed')
  }

  /** Who did the like last has the buffers for it; else each thread gets those of every kind. */
  #idleFor(kind: Job['kind']): JobThread | undefined {
    this.#forgetDead()
    const at = this.#idle.findLastIndex(({ lastKind }) => lastKind === kind)
    return at < 0 ? this.#idle.pop() : this.#idle.splice(at, 1)[0]
  }

  /** A thread may end while it has nothing to do: the next job is not to fail for that. */
  #forgetDead(): void {
    for (let at = this.#idle.length - 1; at >= 0; at--) {
      if (!this.#idle[at]!.dead) continue
      for (const thread of this.#idle.splice(at, 1)) this.#threads.delete(thread)
    }
  }

  #giveBack(thread: JobThread): void {
    if (thread.dead) this.#threads.delete(thread)
    else this.#idle.push(thread)
    this.#waiting.shift()?.()
  }
}

class JobThread {
  lastKind: Job['kind'] | undefined
  readonly #worker: Worker
  #nextId = 1
  #dead = false
  #closed = false
  #settle: { resolve: (result: TaskResult) => void; reject: (error: Error) => void } | undefined

  constructor() {
    this.#worker = startWorker({ resourceLimits: RESOURCE_LIMITS, ...threadFlags() })
    this.#worker.on('message', (reply: JobReply) => this.#onReply(reply))
    this.#worker.on('error', error => this.#onDeath(toError(error)))
    this.#worker.on('exit', code => this.#onDeath(new Error(`it exited with ${code}`)))
    this.#worker.unref()
  }

  get dead(): boolean {
    return this.#dead
  }

  run(task: JobTask): Promise<TaskResult> {
    assert(this.#settle === undefined, 'a thread runs one job at a time')
    if (this.#dead) return Promise.reject(this.#endedBy(new Error('it ended before')))
    const request: JobRequest = { id: this.#nextId, task }
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
      this.#worker.ref()
      this.#worker.postMessage(request)
    })
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#worker.terminate()
  }

  #onReply(reply: JobReply): void {
    assert(reply.id === this.#nextId, 'replies come in the order of requests')
    this.#nextId++
    this.#worker.unref()
    const settle = this.#settle
    this.#settle = undefined
    if ('result' in reply) settle?.resolve(reply.result)
    else settle?.reject(decodeFailure(reply.failure))
  }

  #onDeath(error: Error): void {
    this.#dead = true
    const settle = this.#settle
    this.#settle = undefined
    settle?.reject(this.#endedBy(error))
  }

  /** As whoever waits for a job is told. What the system says goes on to ioFailure(). */
  #endedBy(error: Error): Error {
    if (this.#closed) return new ClosedError('the database was closed before the job was done')
    if (systemErrorCode(error) !== undefined) return error
    return new IoError(
      `the thread of a job ended: ${error.message}; nothing is lost: try again, and if it ends ` +
        'again, install duramen again and restart the program',
      { cause: error },
    )
  }
}

function ignore(): void {
  // The caller of run() has the error; the next job does not need it.
}

/**
 * A thread inherits the flags of its process. With --input-type, which is for programs in the
 * command line (`node --input-type=module -e`), no thread runs a file, so it gets none.
 */
function threadFlags(): WorkerOptions {
  const isInline = process.execArgv.some(flag => flag.startsWith('--input-type'))
  return isInline ? { execArgv: [] } : {}
}

/**
 * A bundle of CommonJS does not know where it is, so none of its threads finds its file. That is
 * told before anything is written: without threads nothing is ever flushed.
 */
function checkPlace(): void {
  const place: string | undefined = import.meta.url
  if (place !== undefined) return
  const advice = 'leave duramen out of the bundle, as an external package'
  throw new NotFoundError(`no thread finds its file from a bundle of CommonJS: ${advice}`)
}

/** A thread that runs job-worker; a bundle has it beside itself, under the same name. */
function startWorker(options: WorkerOptions): Worker {
  const compiled = !import.meta.url.endsWith('.ts')
  if (compiled) return new Worker(new URL('./job-worker.js', import.meta.url), options)
  // From the sources, as tests do: threads of Node 20 do not inherit the loader that reads them.
  const entry = JSON.stringify(new URL('./job-worker.ts', import.meta.url).href)
  const loader = JSON.stringify(import.meta.resolve('tsx/esm/api'))
  const bootstrap = `import { register } from ${loader}; register(); await import(${entry})`
  return new Worker(new URL(`data:text/javascript,${encodeURIComponent(bootstrap)}`), options)
}
