/** Tab completion of the REPL: commands, their options, key prefixes, files. */

import { textToBytes } from './byte-text.ts'
import type { Command } from './command.ts'
import { formatQuotedToken, formatToken, type Token, tokenizeUnfinished } from './command-line.ts'
import { GLOBAL_OPTIONS } from './command-parser.ts'
import { KEYS_MAX } from './key-completions.ts'
import { optionNamed, positionalCount, takesValue } from './repl-hint.ts'
import { UsageError } from './usage-error.ts'

export interface CompletionSources {
  readonly commands: readonly Command[]
  readonly find: (name: string) => Command | undefined
  /** Keys that begin with the prefix, in order; few, and soon, or none. */
  readonly keys: (prefix: Uint8Array) => Promise<readonly Uint8Array[]>
  /** Paths that begin with the prefix; those of directories end in '/'. */
  readonly paths: (prefix: string) => Promise<readonly string[]>
}

/** As readline wants it: what could stand in place of the last part of the line, and that part. */
export type Completion = [hits: string[], part: string]

/** Options whose value is a key. */
const KEY_OPTIONS: readonly string[] = ['-p', '--prefix', '--gt', '--gte', '--lt', '--lte']

export async function complete(line: string, sources: CompletionSources): Promise<Completion> {
  const position = positionOf(line)
  if (position === undefined) return [[], line]
  const { before, part, text } = position
  const hits = await hitsFor(before, text, part.startsWith('"'), sources)
  // A path or prefix that is complete but for what follows gets no space behind it.
  const [only, ...others] = hits
  const final = only !== undefined && others.length === 0 && !only.endsWith('/')
  return [final ? [`${only} `] : hits, part]
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
): Promise<string[]> {
  const [name] = before
  if (name === undefined) return startingWith(sources.commands.flatMap(namesOf), text)
  const command = sources.find(name)
  if (command === undefined) return []
  const last = before.at(-1) ?? ''
  if (KEY_OPTIONS.includes(last) && takesValue(last, command)) {
    return await keyHits(text, quoted, sources)
  }
  if (before.length > 1 && takesValue(last, command)) {
    return startingWith(optionNamed(last, command)?.choices ?? [], text)
  }
  if (text.startsWith('-')) return startingWith(optionsOf(command), text)
  const { choices } = command.args[positionalCount(before.slice(1), command)] ?? {}
  if (choices !== undefined) return startingWith(choices, text)
  switch (command.completes) {
    case 'keys':
      return await keyHits(text, quoted, sources)
    case 'files':
      return (await sources.paths(text)).map(path => formatToken(textToBytes(path)))
    case 'commands':
      return startingWith(
        sources.commands.map(known => known.name),
        text,
      )
    default:
      return []
  }
}

async function keyHits(
  text: string,
  quoted: boolean,
  sources: CompletionSources,
): Promise<string[]> {
  const keys = await sources.keys(textToBytes(text))
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

function namesOf(command: Command): string[] {
  return [command.name, ...(command.aliases ?? [])]
}

function optionsOf(command: Command): string[] {
  const flags = [...command.options, ...GLOBAL_OPTIONS].map(option => option.flags)
  return flags.flatMap(text => text.match(/--[\w-]+/g) ?? [])
}

function startingWith(words: readonly string[], text: string): string[] {
  return words.filter(word => word.startsWith(text)).sort()
}
