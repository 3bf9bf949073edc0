/**
 * A request that any of several nodes can serve: asks one, and the next whenever one has failed or
 * is slow, and takes the first answer. Nobody is asked twice.
 */
import type { CancelTimer, Clock } from '../clock.ts'
import type { NodeId } from './ring-member.ts'

export interface FirstAnswerOptions {
  readonly clock: Clock
  /** Who can serve it, in the order in which they are asked; at least one. */
  readonly nodes: readonly NodeId[]
  /** Milliseconds without an answer after which the next one is asked, too. */
  readonly slowMs: number
}

/** Rejects with the last failure when all have failed. */
export function firstAnswer<T>(
  { clock, nodes, slowMs }: FirstAnswerOptions,
  ask: (node: NodeId) => Promise<T>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const waiting = [...nodes]
    let asked = 0
    let isOver = false
    let cancel: CancelTimer = () => undefined
    const end = (settle: () => void): void => {
      isOver = true
      cancel()
      settle()
    }
    const askNext = (): void => {
      const node = waiting.shift()
      if (isOver || node === undefined) return
      asked++
      cancel()
      cancel = clock.setTimer(slowMs, askNext)
      ask(node).then(
        answer => {
          if (!isOver) end(() => resolve(answer))
        },
        error => {
          asked--
          if (isOver) return
          if (waiting.length > 0) askNext()
          else if (asked === 0) end(() => reject(error))
        },
      )
    }
    askNext()
  })
}
