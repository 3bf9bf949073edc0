/**
 * Completion in bash, zsh and fish. Their scripts know nothing of kvcli's commands: at every Tab
 * they ask kvcli itself, by the hidden command `__complete`, for what the word at the cursor may
 * become, so that they never fall behind.
 *
 *   kvcli __complete bash <line up to the cursor> <COMP_WORDBREAKS>
 *   kvcli __complete zsh|fish <word>... <word at the cursor>
 *
 * answers `files`, for which the shell looks itself, or `words` and one word a line. Whatever goes
 * wrong, the answer is no word and exit code 0: somebody is typing, and no error has a place there.
 */
import { KvError } from '../errors.ts'
import { bytesToText } from './byte-text.ts'
import type { CliIo } from './cli-io.ts'
import type { OptionValues } from './command.ts'
import { isShowable } from './command-line.ts'
import { CommandParser, SERVER_OPTIONS } from './command-parser.ts'
import { commandsFor } from './commands.ts'
import { contextNames } from './contexts-file.ts'
import { keysForCompletion } from './key-completions.ts'
import type { Connect } from './remote-store.ts'
import { chooseServer } from './server-choice.ts'
import { Session } from './session.ts'
import { quoteShellWord, type ShellLine, splitShellLine } from './shell-words.ts'
import { completeWord, type WordCompletion } from './word-completion.ts'

/** Somebody waits with a finger on the Tab key. */
const CONNECT_MS = 400

/** Answers a script; `io.argv` begins with COMPLETE_WORD. Never rejects with a KvError. */
export async function completeInShell(io: CliIo, connect: Connect): Promise<void> {
  const [, shell = '', ...given] = io.argv
  const isBash = shell === 'bash'
  const line = isBash ? lineOfBash(given[0] ?? '') : lineOf(given)
  let found: WordCompletion
  try {
    found = await wordsFor(io, connect, line)
  } catch (error) {
    if (!(error instanceof KvError)) throw error
    found = { kind: 'words', words: [] }
  }
  const lines = found.kind === 'paths' ? ['files'] : ['words', ...wordsOf(found)]
  const shown = isBash ? lines.flatMap((word, at) => asBash(word, at, line, given[1])) : lines
  io.stdout.write(`${shown.join('\n')}\n`)
}

/** Without the program's name. */
function lineOfBash(text: string): ShellLine {
  const line = splitShellLine(text)
  return { ...line, before: line.before.slice(1) }
}

function lineOf(words: readonly string[]): ShellLine {
  const before = words.slice(0, -1).filter(word => word !== '')
  return { before, text: words.at(-1) ?? '', quote: '' }
}

/** Keys that a line of a shell cannot hold, or that would not be seen, are left out. */
function wordsOf(found: WordCompletion): readonly string[] {
  if (found.kind === 'words') return found.words
  if (found.kind === 'paths') return []
  return found.keys.map(key => bytesToText(key)).filter(isShowable)
}

/** What bash puts in place of what stands behind the last character that breaks words. */
function asBash(word: string, at: number, line: ShellLine, breaks = ''): string[] {
  if (at === 0) return [word]
  const { text, quote } = line
  // Those that may stand in a word as they are. Within quotes nothing breaks a word.
  const breaking = Array.from(':=@').filter(character => breaks.includes(character))
  const begun = Math.max(...breaking.map(character => text.lastIndexOf(character)), -1)
  const piece = quote === '' ? word.slice(begun + 1) : word
  const quoted = quoteShellWord(piece, quote)
  return quoted === undefined ? [] : [quoted]
}

async function wordsFor(io: CliIo, connect: Connect, line: ShellLine): Promise<WordCompletion> {
  const commands = commandsFor('once')
  const parser = new CommandParser(commands, 'once')
  const { before, text } = line
  return await completeWord(before, text, {
    commands,
    find: name => parser.find(name),
    keys: prefix => keysFor(io, connect, before, prefix),
    contexts: () => contextNames(io),
  })
}

/** Of the server that the line will go to. None where keys are typed in as digits. */
async function keysFor(
  io: CliIo,
  connect: Connect,
  before: readonly string[],
  prefix: Uint8Array,
): Promise<readonly Uint8Array[]> {
  if (before.includes('--hex') || before.includes('--base64')) return []
  const server = await chooseServer(io, serverOptionsIn(before))
  const session = new Session({ io, connect, mode: 'once', ...server, timeoutMs: CONNECT_MS })
  try {
    await session.client()
    return await keysForCompletion(session, prefix)
  } finally {
    await session.close()
  }
}

/** What a line that is not complete says of the server, as the parser would find it. */
function serverOptionsIn(before: readonly string[]): OptionValues {
  const options: Record<string, unknown> = {}
  for (const { flags } of SERVER_OPTIONS) {
    const names = flags.split(/[ ,]+/).filter(part => part.startsWith('-'))
    const at = before.findLastIndex(word => names.includes(word))
    const long = names.at(-1)!.slice(2)
    const name = long.replace(/-[a-z]/g, part => part.charAt(1).toUpperCase())
    if (at >= 0 && before[at + 1] !== undefined) options[name] = before[at + 1]
  }
  return options
}
