/**
 * CURRENT: names the MANIFEST in force. Forty bytes or so of text, replaced as a whole, so that
 * after any crash it names either the old MANIFEST or the new one.
 *
 *   current := name " " sum "\n"
 *   sum     := XXH32 of the name, seed 0, as eight hexadecimal digits
 */
import { CorruptionError } from '../errors.ts'
import { CURRENT_FILE_NAME, formatFileName, parseFileName, TEMPORARY_SUFFIX } from './file-names.ts'
import { type File, type FileSystem, joinPath, systemErrorCode } from './file-system.ts'
import { sealText, unsealText } from './sealed-text.ts'
import { shortRead } from './short-read.ts'

/** Longer than any CURRENT; what is longer is not one. */
const CURRENT_SIZE_MAX = 64

export function encodeCurrent(manifestNumber: number): Uint8Array {
  return sealText(formatFileName('manifest', manifestNumber))
}

/** The number of the MANIFEST that `bytes` name, or undefined when they are no CURRENT. */
export function decodeCurrent(bytes: Uint8Array): number | undefined {
  const text = unsealText(bytes)
  if (text === undefined) return undefined
  const name = parseFileName(text)
  return name?.kind === 'manifest' ? name.fileNumber : undefined
}

/** The number of the MANIFEST in force, or undefined when there is no CURRENT. */
export function readCurrentSync(fileSystem: FileSystem, directory: string): number | undefined {
  const path = joinPath(directory, CURRENT_FILE_NAME)
  let file: File
  try {
    file = fileSystem.openSync(path)
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
  try {
    const bytes = new Uint8Array(Math.min(file.sizeSync(), CURRENT_SIZE_MAX))
    const length = file.readSync(bytes, 0, bytes.length, 0)
    if (length !== bytes.length) throw shortRead(file, 0, bytes.length, length, 'it is cut')
    const manifestNumber = decodeCurrent(bytes.subarray(0, length))
    if (manifestNumber !== undefined) return manifestNumber
    throw new CorruptionError({ path, offset: 0 }, 'CURRENT does not name a MANIFEST')
  } finally {
    file.closeSync()
  }
}

/**
 * The first half of a replacement: the new CURRENT beside the old one, durable. Returns its path.
 */
export async function prepareCurrent(
  fileSystem: FileSystem,
  directory: string,
  manifestNumber: number,
): Promise<string> {
  const path = joinPath(directory, `${CURRENT_FILE_NAME}${TEMPORARY_SUFFIX}`)
  try {
    await fileSystem.remove(path)
  } catch (error) {
    // Left by an attempt that did not come to its end, or, usually, not there.
    if (systemErrorCode(error) !== 'ENOENT') throw error
  }
  const file = await fileSystem.create(path)
  try {
    const bytes = encodeCurrent(manifestNumber)
    await file.write(bytes, 0, bytes.length, 0)
    await file.sync()
  } finally {
    file.closeSync()
  }
  return path
}

/** The second half: from here on, after any crash, either one may be in force until it resolves. */
export async function replaceCurrent(
  fileSystem: FileSystem,
  directory: string,
  prepared: string,
): Promise<void> {
  await fileSystem.rename(prepared, joinPath(directory, CURRENT_FILE_NAME))
  await fileSystem.syncDirectory(directory)
}

/** prepareCurrent for threads that may wait for the disk. */
export function prepareCurrentSync(
  fileSystem: FileSystem,
  directory: string,
  manifestNumber: number,
): string {
  const path = joinPath(directory, `${CURRENT_FILE_NAME}${TEMPORARY_SUFFIX}`)
  try {
    fileSystem.removeSync(path)
  } catch (error) {
    // Left by an attempt that did not come to its end, or, usually, not there.
    if (systemErrorCode(error) !== 'ENOENT') throw error
  }
  const file = fileSystem.createSync(path)
  try {
    const bytes = encodeCurrent(manifestNumber)
    file.writeSync(bytes, 0, bytes.length, 0)
    file.syncSync()
  } finally {
    file.closeSync()
  }
  return path
}

/** replaceCurrent for threads that may wait for the disk. */
export function replaceCurrentSync(
  fileSystem: FileSystem,
  directory: string,
  prepared: string,
): void {
  fileSystem.renameSync(prepared, joinPath(directory, CURRENT_FILE_NAME))
  fileSystem.syncDirectorySync(directory)
}
