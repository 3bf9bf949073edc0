/** A setting of kvd: what its values are, and what is said of it. */
import type { ValueKind } from './setting-values.ts'

export interface Setting<T> {
  readonly kind: ValueKind<T>
  readonly standard: T
  readonly description: string
  /** How the help calls the value; a switch has none. */
  readonly argument?: string
}

/** One for each member of `Values`. */
export type SettingTable<Values> = {
  readonly [Name in keyof Values]: Setting<Values[Name]>
}
