/**
 * What most clusters never meet, drawn from a seed beside its faults and its workload. Each has a
 * generator of its own: one more of them leaves all that is drawn elsewhere as it was.
 */
import type { Random } from '../../../src/random.ts'

export interface Rarities {
  /** Bytes of hints for one peer: what would be more is found by comparing. Undefined: as usual. */
  readonly hintBytesMax: number | undefined
}

export const NO_RARITIES: Rarities = { hintBytesMax: undefined }

/** In one of so many simulations there is room for hardly any hint. */
const SMALL_HINTS_ONE_OF = 4
/** A hint takes some twenty bytes here. */
const HINT_BYTES = [0, 50, 200]

export function drawRarities(random: (purpose: string) => Random): Rarities {
  const hints = random('hint bytes')
  const isSmall = hints.below(SMALL_HINTS_ONE_OF) === 0
  return { hintBytesMax: isSmall ? HINT_BYTES[hints.below(HINT_BYTES.length)] : undefined }
}
