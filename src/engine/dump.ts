/**
 * Dumps a file of a database, or lists its directory, for people and programs that look for what
 * is wrong. Reads only, takes no lock, and goes on behind damage where there is a way.
 */
import { AbortedError, CorruptionError, InvalidArgumentError, NotFoundError } from '../errors.ts'
import type { Hasher } from '../hash.ts'
import { decodeCurrent } from './current-file.ts'
import { formatDatabaseId } from './database-id.ts'
import type { DumpItem, DumpOptions, DumpSink } from './dump-item.ts'
import { damageOf, dumpedDamage, dumpedEntry, dumpTable } from './dump-table.ts'
import { EntryFields } from './entry-fields.ts'
import { formatFileName, parseFileName } from './file-names.ts'
import { type File, type FileSystem, joinPath, systemErrorCode } from './file-system.ts'
import { readManifestSync } from './manifest-files.ts'
import { decodeManifest, salvageManifest } from './manifest-format.ts'
import { readWalHeaderSync, scanWalSegment } from './wal-check.ts'
import { WAL_HEADER_SIZE } from './wal-format.ts'
import type { WalVisitor } from './wal-reader.ts'

/** Entries held back before the sink gets them. */
const ITEMS_PER_PAUSE = 1000

export interface DumpEnvironment {
  readonly fileSystem: FileSystem
  readonly hasher: Hasher
}

/** Throws NotFoundError, InvalidArgumentError for a file that is not ours, AbortedError. */
export async function dumpPath(
  path: string,
  options: DumpOptions,
  sink: DumpSink,
  { fileSystem, hasher }: DumpEnvironment,
): Promise<void> {
  const { signal, entries: withEntries = false } = options
  const take = async (item: DumpItem) => {
    if (signal?.aborted === true) {
      throw new AbortedError('the dump was aborted by its signal', { cause: signal.reason })
    }
    await sink(item)
  }
  const names = listing(fileSystem, path)
  if (names !== undefined) {
    if (withEntries) {
      throw new InvalidArgumentError(
        `${path} is a directory: entries are shown of one table or log, by its path`,
      )
    }
    await dumpDirectory(fileSystem, path, names, take)
    return
  }
  const name = parseFileName(path.slice(path.lastIndexOf('/') + 1))
  const file = openFile(fileSystem, path, name !== undefined)
  try {
    const { fileNumber } = name ?? { fileNumber: 0 }
    if (name?.kind === 'table') await dumpTable({ file, fileNumber, hasher, withEntries }, take)
    else if (name?.kind === 'wal') await dumpSegment(file, fileNumber, hasher, withEntries, take)
    else if (name?.kind === 'manifest' || name?.kind === 'backup') {
      await dumpManifest(fileSystem, path, fileNumber, take)
    } else if (name?.kind === 'current') await dumpCurrent(file, take)
    else throw unknownName(path)
  } finally {
    file.closeSync()
  }
}

function listing(fileSystem: FileSystem, path: string): string[] | undefined {
  try {
    return fileSystem.listSync(path)
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'ENOTDIR' || code === 'ENOENT') return undefined
    throw error
  }
}

function unknownName(path: string): InvalidArgumentError {
  return new InvalidArgumentError(
    `${path} is no file of a database by its name: give 000012.sst, 000007.wal, ` +
      'MANIFEST-000003, CURRENT, or the directory',
  )
}

function openFile(fileSystem: FileSystem, path: string, isOurs: boolean): File {
  try {
    return fileSystem.openSync(path)
  } catch (error) {
    // What is no file is no damage where no file of ours should be.
    if (error instanceof CorruptionError && !isOurs) throw unknownName(path)
    if (systemErrorCode(error) !== 'ENOENT') throw error
    throw new NotFoundError(`there is no ${path}: check the path`, { cause: error })
  }
}

async function dumpDirectory(
  fileSystem: FileSystem,
  directory: string,
  names: readonly string[],
  sink: DumpSink,
): Promise<void> {
  const known = names.filter(name => parseFileName(name) !== undefined)
  if (known.length === 0) {
    throw new NotFoundError(`${directory} holds no file of a database: check the path`)
  }
  for (const name of known.sort((a, b) => (a < b ? -1 : 1))) {
    const { kind } = parseFileName(name)!
    const path = joinPath(directory, name)
    try {
      const file = fileSystem.openSync(path)
      await sink({ type: 'file', name, kind, size: file.sizeSync() })
      file.closeSync()
    } catch (error) {
      await sink(dumpedDamage(error, path, 0))
    }
  }
}

async function dumpCurrent(file: File, sink: DumpSink): Promise<void> {
  const bytes = new Uint8Array(file.sizeSync())
  file.readSync(bytes, 0, bytes.length, 0)
  const number = decodeCurrent(bytes)
  const { path } = file
  if (number === undefined) {
    await sink({ type: 'damage', path, offset: 0, what: 'CURRENT does not name a MANIFEST' })
    return
  }
  await sink({ type: 'current', offset: 0, manifest: formatFileName('manifest', number) })
}

async function dumpManifest(
  fileSystem: FileSystem,
  path: string,
  fileNumber: number,
  sink: DumpSink,
): Promise<void> {
  const bytes = readManifestSync(fileSystem, path)
  const salvaged = salvageManifest(bytes, path, fileNumber)
  if (salvaged !== undefined) {
    const databaseId = formatDatabaseId(salvaged.databaseId)
    await sink({ type: 'manifest', offset: 0, fileNumber, databaseId })
    for (const [number, edit] of salvaged.edits.entries()) {
      await sink({ type: 'edit', number, edit })
    }
  }
  let damage: DumpItem | undefined
  try {
    const { tornTail } = decodeManifest(bytes, path, fileNumber)
    if (tornTail === undefined) return
    const what = `a torn edit of ${tornTail.length} bytes: it never took effect`
    damage = { type: 'damage', path, offset: tornTail.offset, what }
  } catch (error) {
    damage = dumpedDamage(error, path, 0)
  }
  await sink(damage)
}

async function dumpSegment(
  file: File,
  fileNumber: number,
  hasher: Hasher,
  withEntries: boolean,
  sink: DumpSink,
): Promise<void> {
  const { path } = file
  const header = readWalHeaderSync(file, fileNumber)
  if (header === undefined) {
    const what = 'the header is damaged; without it no frame can be checked'
    await sink({ type: 'damage', path, offset: 0, what })
    return
  }
  const { firstSequence, previous, databaseId } = header
  await sink({
    type: 'segment',
    offset: 0,
    fileNumber,
    databaseId: formatDatabaseId(databaseId),
    firstSequence,
    previousNumber: previous.fileNumber,
    previousLength: previous.length,
  })
  const size = file.sizeSync()
  if (size <= WAL_HEADER_SIZE) return
  const frames = new SegmentDump(withEntries, sink)
  const onFrame = (offset: number, frameSize: number) => frames.onFrame(offset, frameSize)
  const scan = { file, fileNumber, size, databaseId, hasher, onFrame }
  const { gaps } = await scanWalSegment(scan, frames)
  await frames.resume()
  for (const gap of gaps) await sink(damageOf({ severity: 'damage', path, ...gap }))
}

/** Turns frames into items, a few at a time. */
class SegmentDump implements WalVisitor {
  readonly #withEntries: boolean
  readonly #sink: DumpSink
  readonly #entry = new EntryFields()
  #items: DumpItem[] = []
  #offset = 0
  #size = 0
  #isNewFrame = false
  #ops = 0

  constructor(withEntries: boolean, sink: DumpSink) {
    this.#withEntries = withEntries
    this.#sink = sink
  }

  onFrame(offset: number, size: number): void {
    this.#offset = offset
    this.#size = size
  }

  beginFrame(_fileNumber: number, opCount: number): Promise<void> | undefined {
    this.#ops = opCount
    this.#isNewFrame = true
    return this.#items.length < ITEMS_PER_PAUSE ? undefined : this.resume()
  }

  op(
    kind: number,
    sequence: number,
    keyBytes: Uint8Array,
    keyStart: number,
    keyEnd: number,
    valueBytes: Uint8Array,
    valueStart: number,
    valueEnd: number,
  ): boolean {
    const offset = this.#offset
    if (this.#isNewFrame) {
      this.#isNewFrame = false
      const frame = { offset, size: this.#size, firstSequence: sequence, ops: this.#ops }
      this.#items.push({ type: 'frame', ...frame })
    }
    if (this.#withEntries) {
      const fields = { keyBytes, keyStart, keyEnd, sequence, kind }
      Object.assign(this.#entry, fields, { valueBytes, valueStart, valueEnd })
      this.#items.push(dumpedEntry(this.#entry, offset))
    }
    return this.#items.length >= ITEMS_PER_PAUSE
  }

  async resume(): Promise<void> {
    const items = this.#items
    this.#items = []
    for (const item of items) await this.#sink(item)
  }
}
