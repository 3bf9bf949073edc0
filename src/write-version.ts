/**
 * The version of a write, as it travels and as it is stored: of two writes to a key the one with
 * the greater version stays.
 *
 *   version := time u48 | counter u16 | writer [8]          big-endian: versions compare as bytes
 *
 * `time` is milliseconds since the Unix epoch by a hybrid logical clock (Kulkarni et al. 2014),
 * `counter` tells apart what that clock versions within one of them, `writer` is unique to it.
 */
import { assert } from './assert.ts'

export const VERSION_SIZE = 16
export const WRITER_SIZE = 8
export const VERSION_COUNTER_MAX = 0xffff
export const UINT48_MAX = 2 ** 48 - 1

/** The time of a version, in milliseconds since the Unix epoch. */
export function versionTimeMs(version: Uint8Array, offset = 0): number {
  return readUint48(version, offset)
}

export function versionCounter(version: Uint8Array): number {
  return version[6]! * 256 + version[7]!
}

export function encodeVersion(timeMs: number, counter: number, writer: Uint8Array): Uint8Array {
  const version = new Uint8Array(VERSION_SIZE)
  writeVersion(version, timeMs, counter, writer)
  return version
}

/** The same into the first 16 bytes of `target`. */
export function writeVersion(
  target: Uint8Array,
  timeMs: number,
  counter: number,
  writer: Uint8Array,
): void {
  assert(counter >= 0 && counter <= VERSION_COUNTER_MAX, 'the counter has 16 bits')
  assert(writer.length === WRITER_SIZE, 'a writer id has 8 bytes')
  writeUint48(target, 0, timeMs)
  target[6] = counter >>> 8
  target[7] = counter
  target.set(writer, 8)
}

export function readUint48(source: Uint8Array, offset: number): number {
  const high = source[offset]! * 256 + source[offset + 1]!
  const low =
    ((source[offset + 2]! << 24) |
      (source[offset + 3]! << 16) |
      (source[offset + 4]! << 8) |
      source[offset + 5]!) >>>
    0
  return high * 0x1_0000_0000 + low
}

export function writeUint48(target: Uint8Array, offset: number, value: number): void {
  assert(Number.isInteger(value) && value >= 0 && value <= UINT48_MAX, 'a time fits 48 bits')
  const low = value % 0x1_0000_0000
  const high = (value - low) / 0x1_0000_0000
  target[offset] = high >>> 8
  target[offset + 1] = high
  target[offset + 2] = low >>> 24
  target[offset + 3] = low >>> 16
  target[offset + 4] = low >>> 8
  target[offset + 5] = low
}
