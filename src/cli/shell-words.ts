/**
 * A command line of bash as its words, and back: what it takes to complete one of them.
 * Substitution and expansion are not understood; what holds them is taken as it stands. Pure.
 */

/** What the shells' scripts call kvcli with; see shell-completion.ts. */
export const COMPLETE_WORD = '__complete'

/** What a shell's line ends with: '' outside of quotes. */
export type OpenQuote = '' | '"' | "'"

export interface ShellLine {
  /** The words in front of the one that is being typed. */
  readonly before: readonly string[]
  /** The word that is being typed, without its quotes. */
  readonly text: string
  readonly quote: OpenQuote
}

/** Characters that mean nothing to the shell, in any place of a word. */
const PLAIN = /^[\w./:@%+,=-]$/

/** Cuts at spaces that stand outside of quotes. The last word may be empty, or lack its quote. */
export function splitShellLine(line: string): ShellLine {
  const before: string[] = []
  let text = ''
  let quote: OpenQuote = ''
  let isBegun = false
  for (let at = 0; at < line.length; at++) {
    const character = line[at]!
    if (quote === "'") {
      if (character === "'") quote = ''
      else text += character
    } else if (character === '\\' && at + 1 < line.length) {
      const next = line[++at]!
      // Within double quotes a backslash is one, but in front of these.
      text += quote === '"' && !/["\\$`]/.test(next) ? `\\${next}` : next
      isBegun = true
    } else if (quote === '"') {
      if (character === '"') quote = ''
      else text += character
    } else if (character === '"' || character === "'") {
      quote = character
      isBegun = true
    } else if (/\s/.test(character)) {
      if (isBegun) before.push(text)
      text = ''
      isBegun = false
    } else {
      text += character
      isBegun = true
    }
  }
  return { before, text, quote }
}

/** The word as it stands in a line behind what opened the quote; undefined when it cannot. */
export function quoteShellWord(word: string, quote: OpenQuote): string | undefined {
  if (quote === "'") return word.includes("'") ? undefined : word
  if (quote === '"') {
    // The shell would look for a command of its history, whatever stands in front.
    return word.includes('!') ? undefined : word.replace(/["\\$`]/g, '\\$&')
  }
  return Array.from(word, escapeCharacter).join('')
}

function escapeCharacter(character: string): string {
  return PLAIN.test(character) || character >= '\u0080' ? character : `\\${character}`
}
