/**
 * The products that Duramen is measured against, from the package of their own in bench/peers.
 * Only what the benchmarks call is described here, so that the project type-checks without them.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { REPOSITORY } from './built.ts'
import { note } from './report.ts'

export interface LevelIterator {
  nextv(size: number): Promise<[Buffer, Buffer][]>
  all(): Promise<[Buffer, Buffer][]>
  close(): Promise<void>
  [Symbol.asyncIterator](): AsyncIterator<[Buffer, Buffer]>
}

export interface LevelOperation {
  readonly type: 'put'
  readonly key: Buffer
  readonly value: Buffer
}

export interface LevelDatabase {
  open(): Promise<void>
  close(): Promise<void>
  put(key: Buffer, value: Buffer, options: { sync: boolean }): Promise<void>
  del(key: Buffer, options: { sync: boolean }): Promise<void>
  batch(operations: readonly LevelOperation[], options: { sync: boolean }): Promise<void>
  get(key: Buffer): Promise<Buffer | undefined>
  getSync(key: Buffer): Buffer | undefined
  iterator(options: { gte?: Buffer; limit?: number; highWaterMarkBytes?: number }): LevelIterator
}

export interface LmdbDatabase {
  put(key: Buffer, value: Buffer): Promise<boolean>
  remove(key: Buffer): Promise<boolean>
  batch(action: () => void): Promise<boolean>
  getBinary(key: Buffer): Buffer | undefined
  getRange(options: { start?: Buffer; limit?: number }): Iterable<{ key: Buffer; value: Buffer }>
  readonly flushed: Promise<unknown>
  close(): Promise<void>
}

export interface RedisClient {
  set(key: Buffer, value: Buffer): Promise<unknown>
  getBuffer(key: Buffer): Promise<Buffer | null>
  dbsize(): Promise<number>
  config(command: 'GET', name: string): Promise<unknown>
  quit(): Promise<unknown>
  disconnect(): void
  on(event: 'error', listener: (error: Error) => void): void
}

export interface ClassicLevelModule {
  readonly ClassicLevel: new (directory: string, options: object) => LevelDatabase
}
export interface LmdbModule {
  open(options: object): LmdbDatabase
}
export interface IoredisModule {
  readonly Redis: new (options: object) => RedisClient
}

interface PeerModules {
  'classic-level': ClassicLevelModule
  lmdb: LmdbModule
  ioredis: IoredisModule
}
export type PeerName = keyof PeerModules

const DIRECTORY = join(REPOSITORY, 'bench', 'peers')
const require = createRequire(join(DIRECTORY, 'package.json'))

/** Throws when the peer is not installed or its native part does not load. */
export function loadPeer<Name extends PeerName>(name: Name): PeerModules[Name] {
  return require(name) as PeerModules[Name]
}

/** The exact version installed. */
export function peerVersion(name: PeerName): string {
  const path = join(DIRECTORY, 'node_modules', name, 'package.json')
  const { version } = require(path) as { version: string }
  return `${name} ${version}`
}

/** Installs the peers when they are missing; says what will be left out when that fails. */
export function installPeers(): ReadonlySet<PeerName> {
  if (!existsSync(join(DIRECTORY, 'node_modules'))) {
    note('installing the peers: npm ci --prefix bench/peers')
    const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'
    const options = ['ci', '--prefix', DIRECTORY, '--no-audit', '--no-fund', '--loglevel=error']
    const { status, stderr } = spawnSync(npm, options, { encoding: 'utf8' })
    if (status !== 0) note(`npm ci failed with code ${status}: ${stderr.trim().slice(-500)}`)
  }
  const found = new Set<PeerName>()
  for (const name of ['classic-level', 'lmdb', 'ioredis'] as const) {
    try {
      loadPeer(name)
      found.add(name)
    } catch (error) {
      note(`SKIPPED: ${name} does not load (${String(error).split('\n')[0]})`)
    }
  }
  return found
}
