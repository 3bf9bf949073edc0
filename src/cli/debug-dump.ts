/** `debug dump`: the items of a file as lines, for people or as JSON. */
import type { DumpItem, VersionEdit } from '../engine/index.ts'
import type { CommandContext } from './command.ts'
import { type DataEncoding, jsonField, showToken } from './data-encoding.ts'
import { ExitCode } from './exit-code.ts'
import { countOption, flagOption } from './option-values.ts'
import type { JsonObject } from './output.ts'
import { formatBytes, formatCount } from './render.ts'
import type { Style } from './style.ts'

const LIMIT_BOUNDS = { min: 1, max: Number.MAX_SAFE_INTEGER }
/** Bytes of a value that a line shows. */
const VALUE_SHOWN_MAX = 60

/** Ends a dump that has shown enough. */
class EnoughShown extends Error {
  override readonly name = 'EnoughShown'
}

export async function dumpFiles(context: CommandContext, path: string): Promise<ExitCode> {
  const { output, encoding, options, signal } = context
  const limit = countOption(options, 'limit', LIMIT_BOUNDS) ?? Number.POSITIVE_INFINITY
  let shown = 0
  let damages = 0
  const show = async (item: DumpItem): Promise<void> => {
    if (shown === limit) throw new EnoughShown('the limit is reached')
    shown++
    if (item.type === 'damage') damages++
    await output.print(jsonOf(item, encoding), () => renderItem(item, encoding, output.style))
  }
  try {
    await context.session.io.databaseFiles.dump(path, show, {
      entries: flagOption(options, 'entries'),
      signal,
    })
  } catch (error) {
    if (!(error instanceof EnoughShown)) throw error
  }
  return damages > 0 ? ExitCode.failed : ExitCode.ok
}

/** The item as plain JSON: keys and values as every command prints them. */
export function jsonOf(item: DumpItem, encoding: DataEncoding): JsonObject {
  if (item.type !== 'edit') return plain(item, encoding)
  return { type: item.type, number: item.number, ...plain(item.edit, encoding) }
}

function plain(value: object, encoding: DataEncoding): JsonObject {
  const fields: Record<string, unknown> = {}
  for (const [name, field] of Object.entries(value)) {
    if (field === undefined) continue
    if (name === 'databaseId' && field instanceof Uint8Array) fields[name] = hexOf(field)
    else if (field instanceof Uint8Array) Object.assign(fields, jsonField(name, field, encoding))
    else fields[name] = plainField(field, encoding)
  }
  return fields
}

function plainField(field: unknown, encoding: DataEncoding): unknown {
  if (Array.isArray(field)) return field.map(part => plainField(part, encoding))
  return typeof field === 'object' && field !== null ? plain(field, encoding) : field
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

/** One item for people; a table and an edit take several lines. */
export function renderItem(item: DumpItem, encoding: DataEncoding, style: Style): string {
  const key = (bytes: Uint8Array) => style.key(showToken(bytes, encoding))
  switch (item.type) {
    case 'file':
      return `${item.name.padEnd(20)}  ${item.kind.padEnd(9)}  ${formatBytes(item.size)}`
    case 'table':
      return renderTableItem(item, encoding, style)
    case 'block':
      return (
        `${at(item.offset)}  block  ${item.size} bytes, ${item.codec}, ` +
        `${item.entries} entries  ${key(item.firstKey)} .. ${key(item.lastKey)}`
      )
    case 'entry':
      return `${at(item.offset)}    ${renderEntry(item, encoding, style)}`
    case 'range':
      return (
        `${at(item.offset)}  deleted range  ${key(item.start)} .. below ${key(item.end)}  ` +
        `#${item.sequences.join(' #')}`
      )
    case 'segment':
      return (
        `${style.bold(`log segment ${item.fileNumber}`)} of database ${item.databaseId}\n` +
        `  from sequence ${item.firstSequence}, ${renderPrevious(item)}`
      )
    case 'frame':
      return (
        `${at(item.offset)}  frame  ${item.size} bytes, ` +
        `${item.ops} ops from #${item.firstSequence}`
      )
    case 'manifest':
      return style.bold(`MANIFEST ${item.fileNumber} of database ${item.databaseId}`)
    case 'edit':
      return renderEdit(item.number, item.edit, encoding)
    case 'current':
      return `in force: ${item.manifest}`
    case 'damage': {
      const { expected, actual } = item
      const sums = expected === undefined ? '' : ` (expected ${expected}, found ${actual})`
      return `${style.bad('damage')} ${item.path}@${item.offset}: ${item.what}${sums}`
    }
  }
}

/** Offsets in a column of their own. */
function at(offset: number): string {
  return String(offset).padStart(10)
}

type ItemOf<Type extends DumpItem['type']> = Extract<DumpItem, { readonly type: Type }>

function renderTableItem(item: ItemOf<'table'>, encoding: DataEncoding, style: Style): string {
  const { properties, sections, fileNumber } = item
  const { smallestKey, largestKey, smallestSequence, largestSequence } = properties
  const lines = [
    style.bold(`table ${fileNumber}`),
    `  keys ${showToken(smallestKey, encoding)} .. ${showToken(largestKey, encoding)}`,
    `  sequences ${smallestSequence} to ${largestSequence}`,
    `  ${formatCount(properties.entryCount)} entries in ${properties.blockCount} blocks; ` +
      `${properties.tombstoneCount} deletions, ${properties.rangeTombstoneCount} deleted ranges, ` +
      `${properties.expiringCount} expire`,
    ...sections.map(({ name, offset, size }) => `${at(offset)}  ${name}, ${formatBytes(size)}`),
  ]
  return lines.join('\n')
}

function renderEntry(item: ItemOf<'entry'>, encoding: DataEncoding, style: Style): string {
  const { sequence, kind, key, value, expiryMs } = item
  const shownKey = style.key(showToken(key, encoding))
  const shown = value.subarray(0, VALUE_SHOWN_MAX)
  const rest = value.length > shown.length ? `… (${formatBytes(value.length)})` : ''
  const expiry = expiryMs === undefined ? '' : `  until ${new Date(expiryMs).toISOString()}`
  const token = value.length === 0 ? '' : `  ${showToken(shown, encoding)}${rest}`
  return `#${sequence} ${kind}  ${shownKey}${token}${expiry}`
}

function renderPrevious({ previousNumber, previousLength }: ItemOf<'segment'>): string {
  if (previousNumber === 0) return 'no segment before'
  const length = previousLength === 0 ? '' : ` of ${previousLength} bytes at least`
  return `behind segment ${previousNumber}${length}`
}

function renderEdit(number: number, edit: VersionEdit, encoding: DataEncoding): string {
  const lines = [`edit ${number}`]
  const { added = [], removed = [], databaseId: _, closedWal, ...counters } = edit
  for (const [name, value] of Object.entries(counters)) {
    if (value !== undefined) lines.push(`  ${name} ${String(value)}`)
  }
  if (closedWal !== undefined) {
    lines.push(`  closed with segment ${closedWal.fileNumber} at ${closedWal.length} bytes`)
  }
  for (const { level, fileNumber } of removed) {
    lines.push(`  - level ${level} table ${fileNumber}`)
  }
  for (const { level, table } of added) {
    const { fileNumber, size, entryCount, smallestKey, largestKey } = table
    const keys = `${showToken(smallestKey, encoding)} .. ${showToken(largestKey, encoding)}`
    lines.push(
      `  + level ${level} table ${fileNumber}, ${formatBytes(size)}, ` +
        `${formatCount(entryCount)} entries, ${keys}`,
    )
  }
  return lines.join('\n')
}
