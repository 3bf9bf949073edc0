/** For a word that is none of those that an argument may be: which there are, and which is near. */
import { closestWord } from '../edit-distance.ts'
import { UsageError } from './usage-error.ts'

export function unknownChoice(
  command: string,
  word: string | undefined,
  choices: readonly string[],
): UsageError {
  const meant = word === undefined ? undefined : closestWord(word, choices)
  const hint = meant === undefined ? '' : `; do you mean ${meant}?`
  return new UsageError(`${command} does not know '${word}': use ${choices.join(', ')}${hint}`)
}
