/** Listening only where it is safe to: what all servers of a node have in common. */
import type { Accept, Acceptor, Listening } from './acceptor.ts'
import {
  type ListenAddress,
  type ListenOptions,
  type ListenPolicy,
  requireSafe,
  resolveListenOptions,
} from './server-options.ts'

export interface SafeListen {
  readonly wanted: ListenAddress
  readonly policy: ListenPolicy
  readonly keepAliveMs: number
  readonly failed: (error: Error) => void
}

/** Listens as `acceptor` does. Rejects with InvalidArgumentError where it is not safe to. */
export async function listenSafely(
  acceptor: Acceptor,
  { wanted, policy, keepAliveMs, failed }: SafeListen,
  accept: Accept,
): Promise<Listening> {
  const listening = await acceptor.listen({ ...wanted, keepAliveMs, failed }, accept)
  try {
    // A name such as localhost may stand for any address.
    requireSafe(listening.address.host, policy)
    return listening
  } catch (error) {
    await listening.close()
    throw error
  }
}

/**
 * Rejects with what `Server.listen` would reject with, so that a caller can find out before it
 * makes anything that would be left behind. Another program can still come between.
 */
export async function checkListen(
  options: ListenOptions,
  policy: ListenPolicy,
  acceptor: Acceptor,
): Promise<void> {
  const wanted = resolveListenOptions(options, policy)
  const listen = { wanted, policy, keepAliveMs: 0, failed: () => {} }
  const listening = await listenSafely(acceptor, listen, () => undefined)
  await listening.close()
}
