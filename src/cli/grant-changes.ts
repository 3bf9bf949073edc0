/**
 * What a user may do, more or less of it. Kept as one grant a prefix, so that what was granted in
 * one word can be taken back in another. Pure.
 */
import { ACTIONS, type StoredUser } from '../net/index.ts'
import { UsageError } from './usage-error.ts'

export type StoredGrant = StoredUser['grants'][number]

/** The grants with more of them. */
export function withGrants(
  grants: readonly StoredGrant[],
  more: readonly StoredGrant[],
): StoredGrant[] {
  const merged = new Map<string, StoredGrant>()
  for (const grant of [...grants, ...more]) {
    const known = merged.get(prefixOf(grant))?.actions ?? []
    const has = (action: string): boolean =>
      known.includes(action) || grant.actions.includes(action)
    merged.set(prefixOf(grant), { ...grant, actions: ACTIONS.filter(has) })
  }
  return [...merged.values()]
}

/**
 * The grants with less of them. Throws UsageError when something of it was not granted; `shown`
 * says what was.
 */
export function withoutGrants(
  grants: readonly StoredGrant[],
  gone: readonly StoredGrant[],
  shown: string,
): StoredGrant[] {
  let left = withGrants(grants, [])
  for (const { actions, ...place } of gone) {
    const found = left.find(grant => prefixOf(grant) === prefixOf({ actions, ...place }))
    const missing = actions.find(action => found?.actions.includes(action) !== true)
    if (missing !== undefined) {
      const keys = place.prefix === undefined ? '' : `:${place.prefix}`
      throw new UsageError(
        `'${missing}${keys}' was not granted, so it cannot be taken back; granted is: ${shown}`,
      )
    }
    left = left.map(grant => {
      if (grant !== found) return grant
      return { ...grant, actions: grant.actions.filter(action => !actions.includes(action)) }
    })
  }
  return left.filter(({ actions }) => actions.length > 0)
}

function prefixOf({ prefix, prefix64 }: StoredGrant): string {
  return JSON.stringify([prefix ?? '', prefix64])
}
