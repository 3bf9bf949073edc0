/**
 * Where the compiled product is, and how benchmarks load it: always from dist/, as its users get
 * it, never through a transpiler that adds its own cost.
 */
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type * as Engine from '../src/engine/index.ts'
import type { KeyValueStore } from '../src/key-value-store.ts'
import type { FrameDecoder } from '../src/net/frame.ts'
import type { OutputBuffer } from '../src/net/output-buffer.ts'
import type { ReplyHeader } from '../src/net/reply-header.ts'
import type { encodeRequest } from '../src/net/request.ts'

/** The directory of package.json, found from wherever this file was compiled to. */
function findRepository(): string {
  let directory = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(directory, 'biome.json'))) {
    const parent = dirname(directory)
    if (parent === directory) throw new Error('run the benchmarks inside the repository')
    directory = parent
  }
  return directory
}

export const REPOSITORY = findRepository()

/** The directory of the compiled benchmark programs. */
export const PROGRAMS = dirname(fileURLToPath(import.meta.url))

export function builtPath(...parts: string[]): string {
  return join(REPOSITORY, 'dist', ...parts)
}

async function load<Module>(...parts: string[]): Promise<Module> {
  const path = builtPath(...parts)
  if (!existsSync(path)) throw new Error(`${path} is missing: run "npm run build" first`)
  return (await import(pathToFileURL(path).href)) as Module
}

/** The package's own entry: one open for directories and servers. */
export interface DuramenModule {
  open(place: string, options?: object): Promise<KeyValueStore>
}

export function loadDuramen(): Promise<DuramenModule> {
  return load<DuramenModule>('index.js')
}

/** A client of one server, as `duramen/net` makes it: it follows no ring to other servers. */
export interface StatsClient {
  stats(): Promise<Readonly<Record<string, unknown>>>
  close(): Promise<void>
}

export function loadNet(): Promise<{ connect(url: string): Promise<StatsClient> }> {
  return load('net', 'index.js')
}

/** The embedded store alone, as `duramen/engine` exports it. */
export function loadEngine(): Promise<typeof Engine> {
  return load<typeof Engine>('engine', 'index.js')
}

/** The codecs of the wire protocol, as the server and the SDK use them. */
export interface Codecs {
  readonly encodeRequest: typeof encodeRequest
  readonly FrameDecoder: typeof FrameDecoder
  readonly OutputBuffer: typeof OutputBuffer
  readonly ReplyHeader: typeof ReplyHeader
}

export async function loadCodecs(): Promise<Codecs> {
  const parts = ['request', 'frame', 'output-buffer', 'reply-header']
  const modules = await Promise.all(parts.map(part => load<object>('net', `${part}.js`)))
  return Object.assign({}, ...modules) as Codecs
}
