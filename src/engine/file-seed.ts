/**
 * Seeds for the checksums of logs. A checksum seeded with the database, the file and the place in
 * it fails when valid bytes stand where they were not written: in another file, at another offset,
 * or left over from a file that had the space before.
 */
import { xxh32 } from '../hash.ts'
import { DATABASE_ID_SIZE } from './database-id.ts'

const FOLD_PRIME = 0x9e3779b1

/** Folds a number below 2^53 into 32 bits; numbers below 2^32 stay as they are. */
export function foldNumber(value: number): number {
  const low = value >>> 0
  return (low ^ Math.imul((value - low) / 0x1_0000_0000, FOLD_PRIME)) | 0
}

/** The seed of a file: XXH32 of the database id, seeded with the folded file number. */
export function fileSeed(databaseId: Uint8Array, fileNumber: number): number {
  return xxh32(databaseId, 0, DATABASE_ID_SIZE, foldNumber(fileNumber))
}

/** The seed of a place in the file: the file's seed plus the folded offset, modulo 2^32. */
export function placeSeed(seedOfFile: number, offset: number): number {
  return (seedOfFile + foldNumber(offset)) | 0
}
