/**
 * The contexts of a user: servers by name, each with what it takes to talk to them, in one file
 * that only the user reads. It holds no secret, but says where the file with a password is.
 *
 *   { "version": 1, "inUse": "prod", "contexts": { "prod": {
 *       "url": "kvs://ada@node1:7700", "passwordFile": "/home/ada/.prod", "consistency": "quorum",
 *       "tls": { "ca": "/etc/prod/ca.pem", "cert": "…", "key": "…" } } } }
 *
 * Invariants:
 *  1. A file with anything in it that this build does not know is refused, never written over.
 *  2. `inUse` names one of the contexts.
 */
import { closestWord } from '../edit-distance.ts'
import { IoError } from '../errors.ts'
import { CONSISTENCIES, type Consistency } from '../key-value-store.ts'
import type { CliIo } from './cli-io.ts'
import type { TlsPaths } from './client-tls.ts'
import { normalizeUrl } from './session.ts'
import { UsageError } from './usage-error.ts'

const VERSION = 1
const NAME_SIZE_MAX = 64

export interface Context {
  /** Without a password. */
  readonly url: string
  /** Its first line is the password. */
  readonly passwordFile?: string
  /** For calls that name none. */
  readonly consistency?: Consistency
  readonly tls?: TlsPaths
}

export interface Contexts {
  readonly inUse: string | undefined
  /** By name, ascending. */
  readonly byName: ReadonlyMap<string, Context>
}

export const NO_CONTEXTS: Contexts = { inUse: undefined, byName: new Map() }

type World = Pick<CliIo, 'files' | 'configDirectory'>

/** None when there is no file. Throws IoError, naming the file, when it is not as it should be. */
export async function readContexts(io: World): Promise<Contexts> {
  if (io.configDirectory === undefined) return NO_CONTEXTS
  const path = contextsPath(io)
  const text = await io.files.readText(path)
  return text === undefined ? NO_CONTEXTS : decodeContexts(text, path)
}

/** For completion: none where the file is not as it should be. */
export async function contextNames(io: World): Promise<readonly string[]> {
  try {
    return [...(await readContexts(io)).byName.keys()]
  } catch (error) {
    if (error instanceof IoError) return []
    throw error
  }
}

export async function writeContexts(io: World, contexts: Contexts): Promise<void> {
  await io.files.writeText(contextsPath(io), encodeContexts(contexts))
}

/** Throws UsageError where there is no place for it. */
export function contextsPath({ configDirectory }: Pick<CliIo, 'configDirectory'>): string {
  if (configDirectory !== undefined) return `${configDirectory}/kvcli/contexts.json`
  throw new UsageError(
    'there is no place for contexts: neither XDG_CONFIG_HOME nor a home directory is known',
  )
}

/** Throws UsageError, with the name that was meant, when there is no such context. */
export function contextNamed({ byName }: Contexts, name: string): Context {
  const context = byName.get(name)
  if (context !== undefined) return context
  const names = [...byName.keys()]
  if (names.length === 0) {
    throw new UsageError(
      `there is no context '${name}', nor any other: kvcli context add ${name} --url <url>`,
    )
  }
  const closest = closestWord(name, names)
  const meant = closest === undefined ? '' : `did you mean '${closest}'? `
  throw new UsageError(`there is no context '${name}'; ${meant}there are: ${names.join(', ')}`)
}

/** Throws UsageError when it may not be the name of a context. */
export function checkContextName(name: string): void {
  if (/^[A-Za-z0-9][\w.-]*$/.test(name) && name.length <= NAME_SIZE_MAX) return
  throw new UsageError(
    `'${name}' is no name of a context: letters, digits, '.', '_' and '-', ` +
      `at most ${NAME_SIZE_MAX}, the first a letter or digit`,
  )
}

export function encodeContexts({ inUse, byName }: Contexts): string {
  const names = [...byName.keys()].sort((a, b) => (a < b ? -1 : 1))
  const contexts = Object.fromEntries(names.map(name => [name, byName.get(name)]))
  const use = inUse === undefined ? {} : { inUse }
  return `${JSON.stringify({ version: VERSION, ...use, contexts }, undefined, 2)}\n`
}

export function decodeContexts(text: string, path: string): Contexts {
  const wrong = (what: string, cause?: unknown): IoError =>
    new IoError(`cannot use ${path}: ${what}; mend it, or remove it and add contexts anew`, {
      cause,
    })
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch (error) {
    throw wrong('it is not JSON', error)
  }
  try {
    return contextsOf(parsed)
  } catch (error) {
    if (error instanceof UsageError) throw wrong(error.message, error)
    throw error
  }
}

type Members = Readonly<Record<string, unknown>>

function contextsOf(parsed: unknown): Contexts {
  const file = membersOf(parsed, 'it', ['version', 'inUse', 'contexts'])
  const { version, inUse, contexts } = file
  if (version !== VERSION) throw new UsageError(`its version is ${shown(version)}, not ${VERSION}`)
  const all = Object.entries(membersOf(contexts, "'contexts'"))
  const byName = new Map(all.map(([name, context]) => [name, contextOf(context, name)]))
  if (inUse === undefined) return { inUse, byName }
  if (typeof inUse === 'string' && byName.has(inUse)) return { inUse, byName }
  throw new UsageError(`'inUse' is ${shown(inUse)}, which is no context`)
}

function contextOf(value: unknown, name: string): Context {
  checkContextName(name)
  const place = `the context '${name}'`
  const members = membersOf(value, place, ['url', 'passwordFile', 'consistency', 'tls'])
  const { url, consistency } = members
  if (typeof url !== 'string') throw new UsageError(`${place} has no url`)
  const known = CONSISTENCIES.find(level => level === consistency)
  if (consistency !== undefined && known === undefined) {
    throw new UsageError(`${place} has the consistency ${shown(consistency)}`)
  }
  const { passwordFile } = pathsIn(members, place, ['passwordFile'])
  const tls = members['tls'] === undefined ? undefined : tlsOf(members['tls'], place)
  return {
    url: normalizeUrl(url),
    ...(passwordFile === undefined ? {} : { passwordFile }),
    ...(known === undefined ? {} : { consistency: known }),
    ...(tls === undefined ? {} : { tls }),
  }
}

function tlsOf(value: unknown, place: string): TlsPaths {
  const names = ['ca', 'cert', 'key'] as const
  return pathsIn(membersOf(value, `'tls' of ${place}`, names), place, names)
}

function pathsIn<Name extends string>(
  members: Members,
  place: string,
  names: readonly Name[],
): { readonly [_ in Name]?: string } {
  const paths: { [_ in Name]?: string } = {}
  for (const name of names) {
    const path = members[name]
    if (path === undefined) continue
    if (typeof path !== 'string' || path === '') {
      throw new UsageError(`'${name}' of ${place} is ${shown(path)}, not a path`)
    }
    paths[name] = path
  }
  return paths
}

/** An object; with `known`, of these members alone. */
function membersOf(value: unknown, what: string, known?: readonly string[]): Members {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new UsageError(`${what} is no object`)
  }
  const strange = known && Object.keys(value).find(name => !known.includes(name))
  if (strange === undefined) return value as Members
  throw new UsageError(`${what} has '${strange}', which this kvcli does not know`)
}

function shown(value: unknown): string {
  return JSON.stringify(value) ?? 'missing'
}
