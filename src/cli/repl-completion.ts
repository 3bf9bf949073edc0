/** Tab completion of the REPL: what readline puts in place of the word that is being typed. */
import { textToBytes } from './byte-text.ts'
import { formatQuotedToken, formatToken, type Token, tokenizeUnfinished } from './command-line.ts'
import { KEYS_MAX } from './key-completions.ts'
import { UsageError } from './usage-error.ts'
import { completeWord, type WordSources } from './word-completion.ts'

export interface CompletionSources extends WordSources {
  /** Paths that begin with the prefix; those of directories end in '/'. */
  readonly paths: (prefix: string) => Promise<readonly string[]>
}

/** As readline wants it: what could stand in place of the last part of the line, and that part. */
export type Completion = [hits: string[], part: string]

export async function complete(line: string, sources: CompletionSources): Promise<Completion> {
  const position = positionOf(line)
  if (position === undefined) return [[], line]
  const { before, part, text } = position
  const hits = await hitsFor(before, text, part.startsWith('"'), sources)
  // A path or prefix that is complete but for what follows gets no space behind it.
  const [only, ...others] = hits
  const final = only !== undefined && others.length === 0 && !only.endsWith('/')
  return [final ? [`${only} `] : [...hits], part]
}

interface Position {
  /** The words in front of the one that is being typed. */
  readonly before: readonly string[]
  /** The word that is being typed: as it stands in the line, and what it means. */
  readonly part: string
  readonly text: string
}

function positionOf(line: string): Position | undefined {
  let tokens: Token[]
  try {
    tokens = tokenizeUnfinished(line)
  } catch (error) {
    if (error instanceof UsageError) return undefined
    throw error
  }
  const last = tokens.at(-1)
  const typing = last !== undefined && last.end === line.length
  const words = tokens.map(token => token.text)
  if (!typing) return { before: words, part: '', text: '' }
  return { before: words.slice(0, -1), part: line.slice(last.start), text: last.text }
}

async function hitsFor(
  before: readonly string[],
  text: string,
  quoted: boolean,
  sources: CompletionSources,
): Promise<readonly string[]> {
  const found = await completeWord(before, text, sources)
  switch (found.kind) {
    case 'words':
      return found.words
    case 'keys':
      return keyHits(found.keys, quoted)
    case 'paths':
      return (await sources.paths(text)).map(path => formatToken(textToBytes(path)))
  }
}

function keyHits(keys: readonly Uint8Array[], quoted: boolean): string[] {
  const hits = keys.map(quoted ? formatQuotedToken : formatToken)
  if (hits.length <= KEYS_MAX) return hits
  // Says that there are more, and leaves what all have in common as it is.
  const more = `${commonStart(hits)}...`
  return [...hits.slice(0, -1), more, ...hits.slice(-1)]
}

/** Requires at least one word. */
function commonStart([first = '', ...others]: readonly string[]): string {
  let length = first.length
  for (const other of others) {
    while (!other.startsWith(first.slice(0, length))) length--
  }
  return first.slice(0, length)
}
