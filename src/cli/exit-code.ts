/**
 * How kvcli ends. Part of its interface: scripts test these numbers.
 *
 * A key that is absent is an answer, not an error: `get` and `has` print nothing of it as an error,
 * a pipe of commands goes on behind it, but the exit code is 1, as that of grep, so that
 * `if kvcli get k` works and an empty value differs from none.
 */
import { KvError } from '../errors.ts'
import type { StopSignal } from './cli-io.ts'
import { RefusedError } from './refused-error.ts'

export const ExitCode = {
  ok: 0,
  /** The command failed, or the key is absent. */
  failed: 1,
  /** The command line is wrong: nothing was tried. */
  usage: 2,
  /** No server answered at the address. */
  unreachable: 3,
  /** The terminal was closed: 128 + SIGHUP, as shells count it. */
  hungUp: 129,
  /** Ctrl-C: 128 + SIGINT. */
  interrupted: 130,
  /** `kill`: 128 + SIGTERM. */
  terminated: 143,
} as const
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode]

/** How a program ends that was interrupted by the signal. */
export const EXIT_CODE_OF_SIGNAL: Readonly<Record<StopSignal, ExitCode>> = {
  SIGHUP: ExitCode.hungUp,
  SIGINT: ExitCode.interrupted,
  SIGTERM: ExitCode.terminated,
}

export function exitCodeOf(error: unknown): ExitCode {
  // The command line was right; what it led to is not.
  if (!(error instanceof KvError) || error instanceof RefusedError) return ExitCode.failed
  if (error.code === 'KV_INVALID_ARGUMENT') return ExitCode.usage
  if (error.code === 'KV_UNAVAILABLE') return ExitCode.unreachable
  return error.code === 'KV_ABORTED' ? ExitCode.interrupted : ExitCode.failed
}
