/** How many connections all doors of a node may have together, and who is turned away. */
import { refusedConnectionsMax } from './limits.ts'

/** A place for a connection; `refused`: a short one, to be told that there is none. */
export type Place = 'taken' | 'refused' | undefined

export class ConnectionPlaces {
  readonly #max: number
  #taken = 0
  #refused = 0

  constructor(connectionsMax: number) {
    this.#max = connectionsMax
  }

  get free(): number {
    return Math.max(0, this.#max - this.#taken)
  }

  /** Undefined: not even to be told why. */
  take(): Place {
    if (this.#taken < this.#max) {
      this.#taken++
      return 'taken'
    }
    if (this.#refused >= refusedConnectionsMax(this.#max)) return undefined
    this.#refused++
    return 'refused'
  }

  give(place: Place): void {
    if (place === 'taken') this.#taken--
    else if (place === 'refused') this.#refused--
  }
}
