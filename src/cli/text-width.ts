/** How many columns of a terminal a text takes. Simple: what monospaced fonts agree about. Pure. */
import { stripVTControlCharacters } from 'node:util'

const NO_WIDTH = /^[\p{Mn}\p{Me}\p{Cf}]$/u
/** East Asian wide and fullwidth blocks, and emoji: [first, last] code points, ascending. */
const WIDE: readonly (readonly [number, number])[] = [
  [0x1100, 0x115f],
  [0x231a, 0x231b],
  [0x23e9, 0x23ec],
  [0x2e80, 0x303e],
  [0x3041, 0x33ff],
  [0x3400, 0x4dbf],
  [0x4e00, 0x9fff],
  [0xa000, 0xa4cf],
  [0xa960, 0xa97f],
  [0xac00, 0xd7a3],
  [0xf900, 0xfaff],
  [0xfe30, 0xfe6f],
  [0xff00, 0xff60],
  [0xffe0, 0xffe6],
  [0x1f300, 0x1f64f],
  [0x1f680, 0x1f6ff],
  [0x1f900, 0x1faff],
  [0x20000, 0x3fffd],
]

function characterWidth(character: string): number {
  const point = character.codePointAt(0) ?? 0
  if (point < 0x300) return 1
  if (NO_WIDTH.test(character)) return 0
  return WIDE.some(([first, last]) => point >= first && point <= last) ? 2 : 1
}

/**
 * Columns that `text` takes; colour codes take none. Requires that it has no control characters.
 */
export function textWidth(text: string): number {
  let width = 0
  for (const character of stripVTControlCharacters(text)) width += characterWidth(character)
  return width
}

/**
 * The text, cut to at most `widthMax` columns, with an ellipsis as its last when it is cut.
 * Requires that it has neither control characters nor colours. Looks only at what it keeps.
 */
export function fitText(text: string, widthMax: number): string {
  let width = 0
  let end = 0
  let cut = 0
  for (const character of text) {
    width += characterWidth(character)
    if (width > widthMax) return widthMax < 1 ? '' : `${text.slice(0, cut)}…`
    end += character.length
    if (width < widthMax) cut = end
  }
  return text
}

export function padEnd(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - textWidth(text)))
}

export function padStart(text: string, width: number): string {
  return ' '.repeat(Math.max(0, width - textWidth(text))) + text
}
