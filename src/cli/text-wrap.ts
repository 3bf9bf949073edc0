/** Texts of the help pages, laid out for a terminal of some width. Pure. */
import { textWidth } from './text-width.ts'

/** A term and what it means. */
export type HelpItem = readonly [term: string, meaning: string]

/** In a narrower column a text is left as it is: one word a line helps nobody. */
const COLUMN_WIDTH_MIN = 20
const INDENT = 2
const GAP = 2

/** The words of a paragraph in lines of at most `width`; a word longer than that stands alone. */
export function wrapWords(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && textWidth(line) + 1 + textWidth(word) > width) {
      lines.push(line)
      line = word
    } else {
      line = line === '' ? word : `${line} ${word}`
    }
  }
  return [...lines, line]
}

/** Paragraphs, each wrapped; lines that begin with a space are left alone. */
export function wrapParagraphs(text: string, width: number): string {
  return text
    .split('\n')
    .flatMap(line => (line.startsWith(' ') ? [line] : wrapWords(line, width)))
    .join('\n')
}

/**
 * Terms on the left, their meanings in a column on the right. A term longer than `termWidthMax`
 * does not push the column aside: its meaning stands in the line below.
 */
export function layItems(items: readonly HelpItem[], width: number, termWidthMax: number): string {
  const widths = items.map(([term]) => textWidth(term)).filter(size => size <= termWidthMax)
  const column = INDENT + Math.max(0, ...widths) + GAP
  const room = Math.max(COLUMN_WIDTH_MIN, width - column)
  const lines = items.flatMap(([term, meaning]) => {
    const [first = '', ...others] = wrapWords(meaning, room)
    const begin = `${' '.repeat(INDENT)}${term}`
    const rest = others.map(line => ' '.repeat(column) + line)
    if (textWidth(begin) + GAP > column) return [begin, ' '.repeat(column) + first, ...rest]
    return [begin + ' '.repeat(column - textWidth(begin)) + first, ...rest]
  })
  return lines.map(line => line.trimEnd()).join('\n')
}
