/** Steps that must all be taken, whatever fails on the way: closing, and undoing what was begun. */
import { toError } from '../errors.ts'

/** Runs the steps one after another and returns what they threw, in order. Never rejects. */
export async function runAll(steps: readonly (() => void | Promise<void>)[]): Promise<Error[]> {
  const failures: Error[] = []
  for (const step of steps) {
    try {
      await step()
    } catch (error) {
      failures.push(toError(error))
    }
  }
  return failures
}
