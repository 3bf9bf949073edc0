/** Beliefs the code depends on. A failed assertion is a bug of ours, never bad input or disk. */

export class AssertionError extends Error {
  override readonly name = 'AssertionError'
}

/**
 * Throws when a belief the code depends on is false. Never use it to validate input, network or
 * disk data: those are decoded and answered with a typed error.
 */
export function assert(condition: boolean, belief: string): asserts condition {
  if (!condition) throw new AssertionError(belief)
}

/** Marks a branch that the type system shows to be impossible, as the default of a full switch. */
export function unreachable(value: never, belief: string): never {
  throw new AssertionError(`${belief}: got ${JSON.stringify(value)}`)
}
