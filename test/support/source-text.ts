/**
 * TypeScript as the lint tests see it: text with comments, and then with strings, blanked out in
 * place, so that offsets and lines stay the same; and the modules it imports.
 *
 * A scanner, not a parser: it knows strings, templates with nested code, comments and regular
 * expressions, which is what it takes not to mistake one for another.
 */

export interface SourceText {
  /** Relative to the project's root, with '/'. */
  readonly path: string
  readonly text: string
  /** Without the content of comments. */
  readonly code: string
  /** Without the content of comments, strings, templates and regular expressions. */
  readonly bare: string
}

export interface ModuleUse {
  /** Undefined when it is computed at run time. */
  readonly specifier: string | undefined
  readonly line: number
}

export function sourceText(path: string, text: string): SourceText {
  const code = text.split('')
  const bare = text.split('')
  scanCode(text, 0, undefined, (start, end, isComment) => {
    for (let index = start; index < end; index++) {
      if (text[index] === '\n') continue
      bare[index] = ' '
      if (isComment) code[index] = ' '
    }
  })
  return { path, text, code: code.join(''), bare: bare.join('') }
}

export function lineOf(source: SourceText, offset: number): number {
  return source.text.slice(0, offset).split('\n').length
}

/** Every module that the source imports or exports from, in whichever form. */
export function moduleUses(source: SourceText): ModuleUse[] {
  const uses: ModuleUse[] = []
  // In order: from '…' of import and export, import '…', import('…') and require('…').
  const forms = /\bfrom\s*(?=['"])|\bimport\s*(?=['"])|\b(?:import|require)\s*\(\s*/g
  for (const match of source.bare.matchAll(forms)) {
    const start = match.index + match[0].length
    const quoted = /^(['"`])((?:(?!\1|\$\{).)*)\1/.exec(source.code.slice(start))
    uses.push({ specifier: quoted?.[2], line: lineOf(source, match.index) })
  }
  return uses
}

/** Tells of `text[start, end)`: the inside of a comment, or of a string, template or regex. */
type Report = (start: number, end: number, isComment: boolean) => void

/** Scans from `at` to the end, or to the brace that closes a template's hole. */
function scanCode(text: string, at: number, closing: '}' | undefined, report: Report): number {
  let depth = 0
  /** The last character that is no space, to tell a division from a regular expression. */
  let last = ''
  let index = at
  while (index < text.length) {
    const char = text[index]!
    const pair = text.slice(index, index + 2)
    if (closing !== undefined && char === closing && depth === 0) return index
    if (char === '{') depth++
    if (char === '}') depth--
    if (pair === '//' || pair === '/*') index = scanComment(text, index, pair, report)
    else if (char === "'" || char === '"') index = scanString(text, index, char, report)
    else if (char === '`') index = scanTemplate(text, index + 1, report)
    else if (char === '/' && startsRegex(text, index, last)) index = scanRegex(text, index, report)
    else index++
    if (!/\s/.test(char) && pair !== '//' && pair !== '/*') last = char
  }
  return index
}

function scanComment(text: string, start: number, opening: string, report: Report): number {
  const closing = opening === '//' ? '\n' : '*/'
  const found = text.indexOf(closing, start + 2)
  const end = found < 0 ? text.length : found
  report(start, opening === '//' ? end : end + 2, true)
  return Math.min(text.length, opening === '//' ? end : end + 2)
}

function scanString(text: string, start: number, quote: string, report: Report): number {
  let index = start + 1
  while (index < text.length && text[index] !== quote && text[index] !== '\n') {
    index += text[index] === '\\' ? 2 : 1
  }
  report(start + 1, index, false)
  return index + 1
}

function scanTemplate(text: string, start: number, report: Report): number {
  let from = start
  let index = start
  while (index < text.length && text[index] !== '`') {
    if (text.startsWith('${', index)) {
      report(from, index, false)
      index = scanCode(text, index + 2, '}', report) + 1
      from = index
    } else {
      index += text[index] === '\\' ? 2 : 1
    }
  }
  report(from, index, false)
  return index + 1
}

function startsRegex(text: string, index: number, last: string): boolean {
  if (last === '' || '(,=:[!&|?{};+>'.includes(last)) return true
  return /\b(?:return|typeof|case|in|of)\s*$/.test(text.slice(Math.max(0, index - 10), index))
}

function scanRegex(text: string, start: number, report: Report): number {
  let index = start + 1
  let inClass = false
  while (index < text.length && text[index] !== '\n') {
    const char = text[index]
    if (char === '/' && !inClass) break
    if (char === '[') inClass = true
    if (char === ']') inClass = false
    index += char === '\\' ? 2 : 1
  }
  report(start + 1, index, false)
  return index + 1
}
