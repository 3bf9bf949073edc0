/** What the checkers found wrong: each violation says which promise it is and who witnessed it. */

export class Violations {
  readonly #found: string[] = []

  /** Beyond so many of them further ones tell nothing new. */
  static readonly max = 20

  add(promise: string, witness: string): void {
    if (this.#found.length < Violations.max) this.#found.push(`${promise}: ${witness}`)
  }

  get all(): readonly string[] {
    return this.#found
  }
}
