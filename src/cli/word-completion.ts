/**
 * What a word of a command line may become, in the REPL and in the shell of the system: commands,
 * options and their values, actions, keys, contexts, files. Pure, but for what its sources do.
 */
import { textToBytes } from './byte-text.ts'
import type { Command, CommandOption, Completes } from './command.ts'
import { GLOBAL_OPTIONS } from './command-parser.ts'
import { optionNamed, positionalCount, takesValue } from './repl-hint.ts'

export interface WordSources {
  readonly commands: readonly Command[]
  readonly find: (name: string) => Command | undefined
  /** Keys that begin with the prefix, in order; few, and soon, or none. */
  readonly keys: (prefix: Uint8Array) => Promise<readonly Uint8Array[]>
  readonly contexts: () => Promise<readonly string[]>
}

/** Paths are for whoever asked to find. */
export type WordCompletion =
  | { readonly kind: 'words'; readonly words: readonly string[] }
  | { readonly kind: 'keys'; readonly keys: readonly Uint8Array[] }
  | { readonly kind: 'paths' }

/** Options whose value is a key. */
const KEY_OPTIONS: readonly string[] = ['-p', '--prefix', '--gt', '--gte', '--lt', '--lte']

/** `before` are the words in front of it, without the program's name; `text` is what it has yet. */
export async function completeWord(
  before: readonly string[],
  text: string,
  sources: WordSources,
): Promise<WordCompletion> {
  const at = commandIndex(before)
  const name = before[at]
  const command = name === undefined ? undefined : sources.find(name)
  if (name !== undefined && command === undefined) return words([], text)
  const last = before.at(-1) ?? ''
  const isArgument = before.includes('--')
  if (!isArgument && takesValue(last, command)) {
    if (KEY_OPTIONS.includes(last)) return await complete('keys', text, sources)
    const { choices, completes } = optionNamed(last, command)!
    return choices === undefined ? await complete(completes, text, sources) : words(choices, text)
  }
  if (!isArgument && text.startsWith('-')) return words(optionsOf(command), text)
  if (command === undefined) return words(sources.commands.flatMap(namesOf), text)
  const argument = command.args[positionalCount(before.slice(at + 1), command)]
  if (argument?.choices !== undefined) return words(argument.choices, text)
  return await complete(argument?.completes ?? command.completes, text, sources)
}

/** Where the name of the command stands, behind options and their values; the end when nowhere. */
function commandIndex(before: readonly string[]): number {
  let at = 0
  while (before[at]?.startsWith('-') === true) at += takesValue(before[at]!, undefined) ? 2 : 1
  return at
}

async function complete(
  what: Completes | undefined,
  text: string,
  sources: WordSources,
): Promise<WordCompletion> {
  switch (what) {
    case 'keys':
      return { kind: 'keys', keys: await sources.keys(textToBytes(text)) }
    case 'files':
      return { kind: 'paths' }
    case 'contexts':
      return words(await sources.contexts(), text)
    case 'commands':
      return words(
        sources.commands.map(({ name }) => name),
        text,
      )
    case undefined:
      return words([], text)
  }
}

function namesOf(command: Command): string[] {
  return [command.name, ...(command.aliases ?? [])]
}

function optionsOf(command: Command | undefined): string[] {
  const options: readonly CommandOption[] = [...(command?.options ?? []), ...GLOBAL_OPTIONS]
  return options.flatMap(({ flags }) => flags.match(/--[\w-]+/g) ?? [])
}

function words(known: readonly string[], text: string): WordCompletion {
  return { kind: 'words', words: known.filter(word => word.startsWith(text)).sort() }
}
