/**
 * Gives up a call to a node that has fallen silent (peer-silence.ts), long before its time is over:
 * for calls that take their time with large answers, and can be made elsewhere.
 *
 * Invariant: when the result has settled, nothing of it listens or waits any more.
 */
import type { CancelTimer, Clock } from '../clock.ts'
import { UnavailableError } from '../errors.ts'
import type { Peers } from './peers.ts'
import type { NodeId } from './ring-member.ts'

/** Of a silence; who is suspended for a moment goes on with what it was asked. */
const SILENT_MS_MAX = 1500

/**
 * Resolves and rejects as `answer` does, which `node` was asked for; rejects with UnavailableError
 * once it has been silent for a second and a half at a stretch.
 */
export function unlessSilent<T>(
  answer: Promise<T>,
  node: NodeId,
  peers: Pick<Peers, 'isAnswering' | 'onAnswering'>,
  clock: Pick<Clock, 'setTimer'>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    let cancel: CancelTimer | undefined
    const endSilence = () => {
      cancel?.()
      cancel = undefined
    }
    const look = () => {
      if (peers.isAnswering(node)) endSilence()
      else cancel ??= clock.setTimer(SILENT_MS_MAX, giveUp)
    }
    const stop = peers.onAnswering(peer => {
      if (peer === node) look()
    })
    const end = () => {
      stop()
      endSilence()
    }
    const giveUp = () => {
      end()
      reject(new UnavailableError(`node ${node} has fallen silent; ask another, or later`))
    }
    answer.then(resolve, reject).finally(end)
    look()
  })
}
