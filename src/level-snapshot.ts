/** The explicit snapshot of the abstract-level adapter. */

import type { Snapshot } from './key-value-store.ts'
import { AbstractSnapshot } from './level-base.ts'

/** What the database was at one moment, until it is closed. */
export class LevelSnapshot extends AbstractSnapshot {
  readonly engineSnapshot: Snapshot

  /** `owner` is the database or sublevel that closes the snapshot when it is closed itself. */
  constructor(engineSnapshot: Snapshot, options: { readonly owner: object }) {
    // abstract-level does not declare its parameter.
    super(...([options] as unknown as []))
    this.engineSnapshot = engineSnapshot
  }

  protected async _close(): Promise<void> {
    this.engineSnapshot.release()
  }
}

/** The engine's snapshot for the option of a read. Throws TypeError unless it is one of ours. */
export function engineSnapshot(snapshot: LevelSnapshot | null | undefined): Snapshot | undefined {
  if (snapshot === undefined || snapshot === null) return undefined
  if (snapshot instanceof LevelSnapshot) return snapshot.engineSnapshot
  throw new TypeError("The option 'snapshot' must come from the snapshot() of this database")
}
