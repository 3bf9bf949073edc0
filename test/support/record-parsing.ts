/** Runs a record parser over an input cut into pieces, and writes down what it finds. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { type RecordParser, UnreadableInputError } from '../../src/cli/record-format.ts'

/** Something a parser found, with offsets in the whole input. */
export type Finding =
  | { readonly kind: 'record'; readonly key: string; readonly value: string; readonly at: Place }
  | { readonly kind: 'missing'; readonly key: string; readonly at: Place }
  | { readonly kind: 'malformed'; readonly problem: string; readonly at: Place }

export interface Place {
  readonly start: number
  readonly end: number
  readonly line: number
}

export interface Parsed {
  readonly findings: readonly Finding[]
  /** What ended the parsing before the end of the input. */
  readonly unreadable: { readonly problem: string; at: number; line: number } | undefined
}

/** Bytes as text, one character a byte. */
export function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1')
}

/**
 * Parses `input` cut at `cuts`: each piece is given with what the parser left of those before it,
 * in a buffer of its own that is destroyed afterwards.
 */
export function parsePieces(
  createParser: () => RecordParser,
  input: Buffer,
  cuts: readonly number[] = [],
): Parsed {
  const parser = createParser()
  const findings: Finding[] = []
  const edges = [...new Set([...cuts.map(cut => cut % (input.length + 1)), input.length])]
  edges.sort((a, b) => a - b)
  let done = 0
  for (const [index, edge] of edges.entries()) {
    const slab = Buffer.from(input.subarray(done, edge))
    const base = done
    const place = (start: number, end: number, line: number): Place => {
      assert.ok(start <= end && end <= slab.length, 'a place lies in the slab')
      return { start: base + start, end: base + end, line }
    }
    const sink = {
      record(key: Uint8Array, value: Uint8Array, start: number, end: number, line: number) {
        const at = place(start, end, line)
        findings.push({ kind: 'record', key: latin1(key), value: latin1(value), at })
      },
      missing(key: Uint8Array, start: number, end: number, line: number) {
        findings.push({ kind: 'missing', key: latin1(key), at: place(start, end, line) })
      },
      malformed(problem: string, start: number, end: number, line: number) {
        findings.push({ kind: 'malformed', problem, at: place(start, end, line) })
      },
    }
    try {
      done += parser.parse(slab, index === edges.length - 1, sink)
    } catch (error) {
      if (!(error instanceof UnreadableInputError)) throw error
      const { message: problem, line } = error
      return { findings, unreadable: { problem, at: base + error.at, line } }
    } finally {
      slab.fill(0xee)
    }
  }
  assert.equal(done, input.length, 'the whole input is done with')
  return { findings, unreadable: undefined }
}

/** Lines of `input` before `offset`, plus one. */
export function lineAt(input: Buffer, offset: number): number {
  return input.subarray(0, offset).filter(byte => byte === 0x0a).length + 1
}

/**
 * What holds of any input, good or bad: findings follow each other without overlap, each says the
 * line it begins in, and what lies between them is nothing but `filler`.
 */
export function checkPlaces(input: Buffer, parsed: Parsed, filler: RegExp): void {
  let last = 0
  for (const { at } of parsed.findings) {
    assert.ok(at.start >= last, 'findings do not overlap')
    assert.match(latin1(input.subarray(last, at.start)), filler, 'nothing is passed over')
    assert.equal(at.line, lineAt(input, at.start), 'the line is right')
    last = at.end
  }
  const { unreadable } = parsed
  if (unreadable === undefined) {
    assert.match(latin1(input.subarray(last)), filler, 'nothing is left behind')
    return
  }
  assert.ok(unreadable.at >= last && unreadable.at <= input.length, 'the place is in the input')
  assert.equal(unreadable.line, lineAt(input, unreadable.at), 'the line is right')
  assert.notEqual(unreadable.problem, '')
}

/** Places to cut an input at. */
export const cuts = fc.array(fc.nat({ max: 400 }), { maxLength: 12 })

/** Text made of these pieces, as bytes. */
export function soup(...pieces: readonly string[]): fc.Arbitrary<Buffer> {
  return fc
    .array(fc.constantFrom(...pieces), { maxLength: 40 })
    .map(parts => Buffer.from(parts.join(''), 'latin1'))
}
