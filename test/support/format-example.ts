/** Reads the annotated hex dumps of FORMAT.md, so that tests can hold them against the code. */
import assert from 'node:assert/strict'
import { readProjectFile } from './project-files.ts'

const TEXT = readProjectFile('src/engine/FORMAT.md')
const HEX_LINE = /^((?:[0-9a-f]{2} )*[0-9a-f]{2})(?: {2,}(.*))?$/

export interface FormatLine {
  /** Of its first byte in the example. */
  readonly offset: number
  readonly bytes: Uint8Array
  readonly comment: string
}

export interface FormatExample {
  readonly bytes: Uint8Array
  readonly lines: readonly FormatLine[]
}

/** The example in the fence "```hex <name>". */
export function formatExample(name: string): FormatExample {
  const block = new RegExp(`^\`\`\`hex ${name}\\n([\\s\\S]*?)^\`\`\`$`, 'm').exec(TEXT)
  assert.ok(block !== null, `FORMAT.md has the example ${name}`)
  let offset = 0
  const lines = block[1]!
    .trimEnd()
    .split('\n')
    .map(text => {
      const match = HEX_LINE.exec(text)
      assert.ok(match !== null, `a line of hex: ${text}`)
      const bytes = new Uint8Array(Buffer.from(match[1]!.replaceAll(' ', ''), 'hex'))
      const line = { offset, bytes, comment: match[2] ?? '' }
      offset += bytes.length
      return line
    })
  return { lines, bytes: new Uint8Array(Buffer.concat(lines.map(line => line.bytes))) }
}

/**
 * Holds what the comments say against the bytes: an offset ("frame at 64"), and each text in double
 * quotes, which the line's bytes contain.
 */
export function checkComments({ lines }: FormatExample): void {
  for (const { offset, bytes, comment } of lines) {
    const at = /\bframe at (\d+)/.exec(comment)
    if (at !== null) assert.equal(offset, Number(at[1]), comment)
    for (const [, quoted] of comment.matchAll(/"([^"]+)"/g)) {
      const text = quoted!.replaceAll('\\n', '\n')
      assert.ok(Buffer.from(bytes).includes(text), `the bytes of: ${comment}`)
    }
  }
}
