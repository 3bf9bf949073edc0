/**
 * The grey hint behind the cursor: the arguments that a command still wants. Pure, but for paint.
 */
import { type Command, type CommandOption, showArgument } from './command.ts'
import { tokenizeUnfinished } from './command-line.ts'
import { GLOBAL_OPTIONS } from './command-parser.ts'
import { UsageError } from './usage-error.ts'

/** What would follow the line, or '' when nothing or nobody knows. */
export function hintFor(line: string, find: (name: string) => Command | undefined): string {
  const tokens = tokensOf(line)
  const [name, ...words] = tokens
  const command = name === undefined ? undefined : find(name)
  if (command === undefined) return ''
  const begun = !/\s$/.test(line)
  // While the name itself is being typed, it may still become a longer one.
  const given = positionalCount(words, command)
  const rest = command.args.filter(
    (argument, index) => index >= given || (argument.variadic === true && !begun),
  )
  const hint = rest.map(showArgument).join(' ')
  return hint === '' ? '' : begun ? ` ${hint}` : hint
}

function tokensOf(line: string): string[] {
  try {
    return tokenizeUnfinished(line).map(token => token.text)
  } catch (error) {
    if (error instanceof UsageError) return []
    throw error
  }
}

/** Words that are arguments: neither options nor the values of options. */
export function positionalCount(words: readonly string[], command: Command): number {
  let count = 0
  let onlyArguments = false
  for (let index = 0; index < words.length; index++) {
    const word = words[index]!
    if (onlyArguments || !word.startsWith('-') || word === '-') count++
    else if (word === '--') onlyArguments = true
    else if (takesValue(word, command)) index++
  }
  return count
}

/** True when the option named by `word` is followed by its value. */
export function takesValue(word: string, command: Command | undefined): boolean {
  return optionNamed(word, command)?.flags.includes('<') === true
}

/** The option that `word` names, of the command or of all commands. */
export function optionNamed(word: string, command: Command | undefined): CommandOption | undefined {
  const known = [...(command?.options ?? []), ...GLOBAL_OPTIONS]
  return known.find(({ flags }) => flags.split(/[ ,]+/).includes(word))
}
