/** Dumps a table: sections, properties, blocks and their entries. Goes on behind damage. */
import { copyBytes } from '../bytes.ts'
import type { Hasher } from '../hash.ts'
import { BlockReader } from './block.ts'
import { BLOCK_TRAILER_SIZE, BlockCodec } from './block-codec.ts'
import { BlockIndex } from './block-index.ts'
import type { DumpedSection, DumpItem, DumpSink } from './dump-item.ts'
import { EntryFields } from './entry-fields.ts'
import type { File } from './file-system.ts'
import { type Finding, FindingList } from './finding.ts'
import { EntryKind, EXPIRY_SIZE, readExpiry } from './internal-key.ts'
import { decodeRangeTombstones } from './range-tombstone-format.ts'
import { FOOTER_SIZE, type Footer } from './sstable-format.ts'
import { verifyStoredBlock } from './sstable-reader.ts'
import { readFooterOf, readProperties, readSection } from './table-metadata-reader.ts'

const KIND_NAMES = new Map<number, string>(
  Object.entries(EntryKind).map(([name, kind]) => [kind, name]),
)
const CODEC_NAMES = new Map<number, string>(
  Object.entries(BlockCodec).map(([name, codec]) => [codec, name]),
)

export interface TableDump {
  readonly file: File
  readonly fileNumber: number
  readonly hasher: Hasher
  readonly withEntries: boolean
}

export async function dumpTable(dump: TableDump, sink: DumpSink): Promise<void> {
  const { file, fileNumber, hasher } = dump
  const footer = await attempt(dump, 0, sink, () => readFooterOf(file, fileNumber, hasher))
  if (footer === undefined) return
  const properties = await attempt(dump, footer.properties.offset, sink, () =>
    readProperties(file, fileNumber, footer, hasher),
  )
  if (properties !== undefined) {
    const sections = sectionsOf(footer, file.sizeSync())
    await sink({ type: 'table', offset: 0, fileNumber, sections, properties })
  }
  const index = await attempt(dump, footer.index.offset, sink, () =>
    readSection(file, fileNumber, footer.index, hasher, BlockIndex.decode),
  )
  for (let ordinal = 0; ordinal < (index?.blockCount ?? 0); ordinal++) {
    const offset = index!.offsets[ordinal]!
    const size = index!.offsets[ordinal + 1]! - offset
    const items = await attempt(dump, offset, sink, () => itemsOf(dump, offset, size))
    for (const item of items ?? []) await sink(item)
  }
  if (footer.ranges.size === 0) return
  const { offset } = footer.ranges
  const ranges = await attempt(dump, offset, sink, () =>
    readSection(file, fileNumber, footer.ranges, hasher, decodeRangeTombstones),
  )
  for (const range of ranges ?? []) await sink({ type: 'range', offset, ...range })
}

function sectionsOf(footer: Footer, fileSize: number): DumpedSection[] {
  const { filter, index, ranges, properties } = footer
  const blocksEnd = filter.size > 0 ? filter.offset : index.offset
  const sections: DumpedSection[] = [
    { name: 'blocks', offset: 0, size: blocksEnd },
    { name: 'filter', ...filter },
    { name: 'index', ...index },
    { name: 'ranges', ...ranges },
    { name: 'properties', ...properties },
    { name: 'footer', offset: fileSize - FOOTER_SIZE, size: FOOTER_SIZE },
  ]
  return sections.filter(({ size }) => size > 0)
}

/** The block, and its entries if they are wanted. */
function itemsOf(dump: TableDump, offset: number, size: number): DumpItem[] {
  const { file, fileNumber, hasher } = dump
  const bytes = new Uint8Array(size)
  file.readSync(bytes, 0, size, offset)
  const place = { path: file.path, fileNumber }
  const inflated = verifyStoredBlock(bytes, 0, size, place, offset, hasher)
  const block = new BlockReader()
  if (inflated === undefined) block.open(bytes, 0, size - BLOCK_TRAILER_SIZE)
  else block.open(inflated, 0, inflated.length)
  const codec = CODEC_NAMES.get(bytes[size - BLOCK_TRAILER_SIZE]!) ?? 'unknown'
  const entry = new EntryFields()
  const entries: (DumpItem & { readonly type: 'entry' })[] = []
  for (let index = 0; index < block.count; index++) {
    const isBound = index === 0 || index === block.count - 1
    if (!dump.withEntries && !isBound) continue
    block.show(index, entry)
    entries.push(dumpedEntry(entry, offset))
  }
  const firstKey = entries[0]!.key
  const lastKey = entries.at(-1)!.key
  const item = { type: 'block', offset, size, codec, entries: block.count, firstKey, lastKey }
  return [item as DumpItem, ...(dump.withEntries ? entries : [])]
}

/** A copy of the entry, for the taker to keep. */
export function dumpedEntry(
  entry: EntryFields,
  offset: number,
): DumpItem & { readonly type: 'entry' } {
  const { keyBytes, keyStart, keyEnd, sequence, kind, valueBytes, valueStart, valueEnd } = entry
  const isExpiring = kind === EntryKind.putExpiring
  return {
    type: 'entry',
    offset,
    sequence,
    kind: KIND_NAMES.get(kind) ?? String(kind),
    key: copyBytes(keyBytes, keyStart, keyEnd),
    value: copyBytes(valueBytes, valueStart + (isExpiring ? EXPIRY_SIZE : 0), valueEnd),
    ...(isExpiring ? { expiryMs: readExpiry(valueBytes, valueStart) } : {}),
  }
}

/** What `read` gives; damage goes to the sink instead. */
async function attempt<T>(
  { file }: TableDump,
  offset: number,
  sink: DumpSink,
  read: () => T,
): Promise<T | undefined> {
  try {
    return read()
  } catch (error) {
    await sink(dumpedDamage(error, file.path, offset))
    return undefined
  }
}

/** Throws errors that are no damage. */
export function dumpedDamage(error: unknown, path: string, offset: number): DumpItem {
  const list = new FindingList()
  list.addError(error, path, offset)
  return damageOf(list.findings[0]!)
}

export function damageOf({ path, offset, what, expected, actual }: Finding): DumpItem {
  return { type: 'damage', path, offset, what, expected, actual }
}
