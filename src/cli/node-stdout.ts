/**
 * Standard output of this process, every byte of it accounted for.
 *
 * When a disk is nearly full, a write to a file may take only part of the bytes. process.stdout
 * calls that a success, and `kvcli get key > file` would end well with half a value in the file.
 */
import { fstatSync, writeSync } from 'node:fs'
import { Writable } from 'node:stream'
import type { CliOutput } from './cli-io.ts'

const STDOUT = 1

export function nodeStdout(): CliOutput {
  return isFile(STDOUT) ? fileOutput(STDOUT) : process.stdout
}

function isFile(descriptor: number): boolean {
  try {
    return fstatSync(descriptor).isFile()
  } catch {
    // A closed descriptor is none; process.stdout knows what to do without one.
    return false
  }
}

/** Bytes are in the file when a write calls back, or the write has failed. */
function fileOutput(descriptor: number): CliOutput {
  return new Writable({
    write(chunk: Uint8Array, _encoding, done) {
      try {
        for (let at = 0; at < chunk.length; ) at += writeSync(descriptor, chunk, at)
        done()
      } catch (error) {
        done(error instanceof Error ? error : new Error(String(error)))
      }
    },
  })
}
