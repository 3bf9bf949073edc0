/**
 * What a table says of itself, for when no MANIFEST says it: the metadata that would be recorded of
 * it. Synchronous, for maintenance threads.
 */
import { CorruptionError } from '../errors.ts'
import type { Hasher } from '../hash.ts'
import { BLOCK_TRAILER_SIZE, BlockCodec, openSealedBlock } from './block-codec.ts'
import { digestSync } from './copy-file.ts'
import type { File } from './file-system.ts'
import type { JobControl } from './maintenance-job.ts'
import { shortRead } from './short-read.ts'
import {
  type BlockHandle,
  decodeFooter,
  decodeProperties,
  FOOTER_SIZE,
  type Footer,
  type TableProperties,
} from './sstable-format.ts'
import { located } from './sstable-sections.ts'
import type { TableMetadata } from './table-metadata.ts'

/** The footer of the file. Throws CorruptionError, or VersionMismatchError. */
export function readFooterOf(file: File, fileNumber: number, hasher: Hasher): Footer {
  const at = file.sizeSync() - FOOTER_SIZE
  const { path } = file
  if (at < 0) throw new CorruptionError({ path, offset: 0 }, 'the file is too short for a table')
  const bytes = readExactly(file, at, FOOTER_SIZE)
  return decodeFooter(bytes, at, { path, fileNumber }, hasher)
}

/** The content of a section, decoded. Throws CorruptionError. */
export function readSection<T>(
  file: File,
  fileNumber: number,
  handle: BlockHandle,
  hasher: Hasher,
  decode: (bytes: Uint8Array, start: number, end: number) => T,
): T {
  const { offset, size } = handle
  const { path } = file
  if (size < BLOCK_TRAILER_SIZE || offset + size > file.sizeSync()) {
    throw new CorruptionError({ path, offset }, 'a section lies beyond the file')
  }
  const bytes = readExactly(file, offset, size)
  const codec = openSealedBlock(bytes, 0, size, { path, fileNumber }, offset, hasher)
  if (codec !== BlockCodec.none) {
    throw new CorruptionError({ path, offset }, 'sections are not compressed')
  }
  return located(path, offset, 0, () => decode(bytes, 0, size - BLOCK_TRAILER_SIZE))
}

export function readProperties(
  file: File,
  fileNumber: number,
  footer: Footer,
  hasher: Hasher,
): TableProperties {
  return readSection(file, fileNumber, footer.properties, hasher, decodeProperties)
}

/** What the table in `file` is by its own account. Reads all of it, for its checksum. */
export function readTableMetadata(
  file: File,
  fileNumber: number,
  hasher: Hasher,
  control: JobControl,
): TableMetadata {
  const footer = readFooterOf(file, fileNumber, hasher)
  const { blockCount: _, ...properties } = readProperties(file, fileNumber, footer, hasher)
  const { size, checksum } = digestSync(file, hasher, control)
  return { ...properties, fileNumber, size, fileChecksum: checksum }
}

function readExactly(file: File, offset: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  const count = file.readSync(bytes, 0, length, offset)
  if (count === length) return bytes
  throw shortRead(file, offset, length, count, 'the file ends too early')
}
