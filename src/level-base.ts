/**
 * The classes of abstract-level, a package that only users of `duramen/level` install.
 *
 * It is required, not imported: an import that is missing fails before any line of ours could say
 * what to do about it. It is CommonJS, so both ways give the same classes.
 */
import { createRequire } from 'node:module'
import { NotFoundError } from './errors.ts'

type AbstractLevelPackage = typeof import('abstract-level')

const PACKAGE = 'abstract-level'

/** Throws NotFoundError when the package is not installed. */
function load(): AbstractLevelPackage {
  try {
    return createRequire(import.meta.url)(PACKAGE) as AbstractLevelPackage
  } catch (error) {
    if (!isMissing(error)) throw error
    throw new NotFoundError(
      `duramen/level needs the package ${PACKAGE}, which is not installed: npm install ${PACKAGE}`,
      { cause: error },
    )
  }
}

/** Not so when the package is there, and something that it needs itself is not. */
function isMissing(error: unknown): boolean {
  if (!(error instanceof Error) || !('code' in error)) return false
  return error.code === 'MODULE_NOT_FOUND' && error.message.includes(`'${PACKAGE}'`)
}

export const {
  AbstractIterator,
  AbstractKeyIterator,
  AbstractLevel,
  AbstractSnapshot,
  AbstractValueIterator,
} = load()
