/** Probes by a process of their own; see chaos-probe-worker.ts. */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Consistency } from '../../../src/key-value-store.ts'
import { LOADER_ARGUMENTS, moduleUrl } from '../project-root.ts'
import type { Probe } from './subject.ts'

export interface ProbeRequest {
  readonly id: number
  /** Of one node. */
  readonly url: string
  readonly password: string | undefined
  readonly kind: 'read' | 'write'
  readonly key: string
  readonly consistency: Consistency
}

export interface ProbeReply {
  readonly id: number
  readonly result: Probe
}

export class ProbeProcess {
  readonly #waiting = new Map<number, (probe: Probe) => void>()
  #child: ChildProcess | undefined
  #lastId = 0

  ask(question: Omit<ProbeRequest, 'id'>): Promise<Probe> {
    this.#child ??= this.#start()
    const child = this.#child
    const id = ++this.#lastId
    return new Promise(resolve => {
      this.#waiting.set(id, resolve)
      child.send({ ...question, id } satisfies ProbeRequest)
    })
  }

  #start(): ChildProcess {
    const worker = moduleUrl('test/support/chaos-probe-worker.ts')
    const child = fork(fileURLToPath(worker), { execArgv: [...LOADER_ARGUMENTS] })
    child.on('message', (message: unknown) => {
      const { id, result } = message as ProbeReply
      this.#waiting.get(id)?.(result)
      this.#waiting.delete(id)
    })
    child.once('exit', code => {
      for (const tell of this.#waiting.values())
        tell({ error: `the prober ended: ${code}`, tookMs: 0 })
      this.#waiting.clear()
    })
    return child
  }

  stop(): void {
    this.#child?.disconnect()
    this.#child = undefined
  }
}
