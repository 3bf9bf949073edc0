/**
 * Which server kvcli talks to, as whom, and what it is held against. The first that says an address
 * counts, whole:
 *
 *   1. --url                     5. the context in use (kvcli context use)
 *   2. --context                 6. the cluster that kvd dev runs in this directory
 *   3. DURAMEN_URL               7. where kvd serve listens
 *   4. DURAMEN_CONTEXT
 *
 * Invariant: what a context says besides its address (password, consistency, TLS files) is used
 * with that address alone.
 */
import { utf8Decode } from '../bytes.ts'
import { IoError } from '../errors.ts'
import type { Consistency } from '../key-value-store.ts'
import type { ClientTls } from '../net/index.ts'
import type { CliFiles, CliIo } from './cli-io.ts'
import { readClientTls, type TlsPaths, tlsOptions, tlsVariables } from './client-tls.ts'
import type { OptionValues } from './command.ts'
import { type Context, type Contexts, contextNamed, readContexts } from './contexts-file.ts'
import { DEV_DIRECTORY, decodeRun, runningPath } from './dev-layout.ts'
import { textOption } from './option-values.ts'
import { PASSWORD_FILE_VARIABLE, PASSWORD_VARIABLE, passwordIn } from './password.ts'
import { DEFAULT_URL, normalizeUrl, splitUrl } from './session.ts'
import { UsageError } from './usage-error.ts'

export const URL_VARIABLE = 'DURAMEN_URL'
export const CONTEXT_VARIABLE = 'DURAMEN_CONTEXT'

export interface ServerChoice {
  /** Without a password. */
  readonly url: string
  /** What said so: '--url', 'DURAMEN_URL', "the context 'prod', in use". */
  readonly source: string
  /** The nodes are those of the cluster that `kvd dev` runs in this directory. */
  readonly isDev: boolean
  /** For this address alone. */
  readonly urlPassword: string | undefined
  /** For each server that has no other. */
  readonly password: string | undefined
  readonly tls: ClientTls | undefined
  /** For other addresses: what no context says. Rejects when a file of it cannot be read. */
  readonly otherTls: () => Promise<ClientTls | undefined>
  /** For calls that name none. */
  readonly consistency: Consistency | undefined
}

/** An address, and what comes with it. */
interface Found {
  readonly url: string
  readonly source: string
  readonly isDev?: boolean
  readonly urlPassword?: string | undefined
  readonly context?: Context
}

/** What can be told of the choice without reading the files that it names. */
export async function nameServer(
  io: World,
  options: OptionValues,
): Promise<Pick<ServerChoice, 'url' | 'source' | 'consistency'>> {
  const { url, source, context } = await findServer(io, options)
  return { url, source, consistency: context?.consistency }
}

type World = Pick<CliIo, 'env' | 'files' | 'isAlive' | 'configDirectory'>

/** Throws UsageError, and what reading a file that it names fails with. */
export async function chooseServer(io: World, options: OptionValues): Promise<ServerChoice> {
  const found = await findServer(io, options)
  const { url, source, isDev = false, context } = found
  const variables = tlsVariables(io.env)
  const flags = tlsFlags(options, url)
  const read = (paths: TlsPaths) =>
    readClientTls(paths, async path => utf8Decode(await io.files.readBytes(path)))
  return {
    url,
    source,
    isDev,
    urlPassword: found.urlPassword ?? (await passwordOf(context, io.files)),
    password: await readPassword(io),
    tls: await read({ ...variables, ...context?.tls, ...flags }),
    otherTls: () => read({ ...variables, ...flags }),
    consistency: context?.consistency,
  }
}

async function findServer(io: World, options: OptionValues): Promise<Found> {
  const { env } = io
  const given = textOption(options, 'url')
  const named = textOption(options, 'context')
  if (given !== undefined && named !== undefined) {
    throw new UsageError('give --url or --context, not both')
  }
  if (given !== undefined) return { url: normalizeUrl(given), source: '--url' }
  if (named !== undefined) return inContext(await readContexts(io), named, '--context')
  // As with all of our variables, an empty one is an unset one.
  const fromEnv = env[URL_VARIABLE]
  if (fromEnv) {
    const { url, password } = splitUrl(fromEnv)
    return { url, urlPassword: password, source: URL_VARIABLE }
  }
  const contexts = await readContexts(io)
  const nameFromEnv = env[CONTEXT_VARIABLE]
  if (nameFromEnv) return inContext(contexts, nameFromEnv, CONTEXT_VARIABLE)
  if (contexts.inUse !== undefined) return inContext(contexts, contexts.inUse, 'in use')
  const devUrl = await readDevUrl(io)
  if (devUrl !== undefined) return { url: devUrl, isDev: true, source: 'kvd dev, which runs here' }
  return { url: DEFAULT_URL, source: 'nothing: it is where kvd serve listens' }
}

function inContext(contexts: Contexts, name: string, by: string): Found {
  const context = contextNamed(contexts, name)
  return { url: context.url, source: `the context '${name}', ${by}`, context }
}

/** The nodes of the cluster that `kvd dev` runs in this directory; undefined when none runs. */
async function readDevUrl(io: World): Promise<string | undefined> {
  try {
    const run = decodeRun(await io.files.readText(runningPath(DEV_DIRECTORY)))
    return run !== undefined && io.isAlive(run.pid) ? run.url : undefined
  } catch (error) {
    // What is there is nothing of ours, or of another user.
    if (error instanceof IoError) return undefined
    throw error
  }
}

async function passwordOf(
  context: Context | undefined,
  files: CliFiles,
): Promise<string | undefined> {
  const path = context?.passwordFile
  return path === undefined ? undefined : passwordIn(utf8Decode(await files.readBytes(path)), path)
}

async function readPassword({ env, files }: World): Promise<string | undefined> {
  const path = env[PASSWORD_FILE_VARIABLE]
  if (!path) return env[PASSWORD_VARIABLE] || undefined
  return passwordIn(utf8Decode(await files.readBytes(path)), path)
}

function tlsFlags(options: OptionValues, url: string): TlsPaths {
  const flags = tlsOptions(options)
  const [name] = Object.keys(flags)
  if (name === undefined || url.startsWith('kvs:')) return flags
  throw new UsageError(`--tls-${name} is for servers that speak TLS: use a kvs:// address`)
}
