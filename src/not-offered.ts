/**
 * Methods that one kind of store has and the other has not. The types tell; a program without types
 * hears it from a KvError, and not from "is not a function". What a class has is never replaced.
 */
import { assert } from './assert.ts'
import { InvalidArgumentError } from './errors.ts'

export interface AbsentMethods {
  /** Whose they are not: 'a remote client'. */
  readonly kind: string
  /** Their callers expect a result, so they throw. */
  readonly throwing: readonly string[]
  /** Their callers expect a promise, so it rejects. */
  readonly rejecting: readonly string[]
  /** Where they are offered, or what to do instead. */
  readonly advice: string
}

/** Gives the class these methods, each of which fails with InvalidArgumentError. */
export function refuseMethods(owner: { readonly prototype: object }, absent: AbsentMethods): void {
  const { kind, throwing, rejecting, advice } = absent
  const errorOf = (name: string): InvalidArgumentError => {
    return new InvalidArgumentError(`${kind} has no ${name}: ${advice}`)
  }
  const define = (name: string, value: () => unknown): void => {
    assert(!(name in owner.prototype), `${kind} has ${name}`)
    Object.defineProperty(owner.prototype, name, { value, writable: true, configurable: true })
  }
  for (const name of rejecting) define(name, () => Promise.reject(errorOf(name)))
  for (const name of throwing) {
    define(name, () => {
      throw errorOf(name)
    })
  }
}
