/** Commands from standard input, one a line. Empty lines and comments (#) are passed over. */
import { AbortedError, IoError } from '../errors.ts'
import { untilAborted } from './abortable.ts'
import { bytesToText } from './byte-text.ts'
import { tokenize } from './command-line.ts'
import { ExitCode } from './exit-code.ts'
import { type CommandOutcome, type CommandRun, printError, runWords } from './run-command.ts'

export interface CommandPipeOptions extends CommandRun {
  readonly input: AsyncIterable<unknown>
  /** Goes on behind an error instead of stopping there. */
  readonly keepGoing: boolean
}

/** A line may hold the largest value, with every byte as \xHH and then some. */
const LINE_SIZE_MAX = 300 * 1024 * 1024
const NEWLINE = 0x0a

/**
 * Resolves with the first exit code that is not ok. An absent key is no error: the commands behind
 * it are run, as they are behind errors with `keepGoing`.
 */
export async function runPipe(options: CommandPipeOptions): Promise<ExitCode> {
  try {
    return await runLines(options)
  } catch (error) {
    // Ctrl-C while the next line was waited for; nothing was under way.
    if (error instanceof AbortedError) return ExitCode.interrupted
    return (await printError(error, options.output, options)).code
  }
}

async function runLines(options: CommandPipeOptions): Promise<ExitCode> {
  let firstCode: ExitCode = ExitCode.ok
  let lineNumber = 0
  for await (const line of linesOf(untilAborted(options.input, options.signal))) {
    lineNumber++
    const run = { ...options, place: `line ${lineNumber}` }
    const outcome = await runLine(bytesToText(line), run)
    if (firstCode === ExitCode.ok) firstCode = outcome.code
    if (options.signal.aborted) return ExitCode.interrupted
    if (options.output.readerGone) return ExitCode.ok
    if (outcome.failed && !options.keepGoing) return outcome.code
  }
  return firstCode
}

async function runLine(line: string, run: CommandRun): Promise<CommandOutcome> {
  let words: string[]
  try {
    words = tokenize(line).map(token => token.text)
  } catch (error) {
    return await printError(error, run.output, run)
  }
  if (words.length === 0) return { code: ExitCode.ok, failed: false }
  return await runWords(words, run)
}

async function* linesOf(
  input: AsyncIterable<unknown>,
): AsyncGenerator<Uint8Array, void, undefined> {
  let parts: Uint8Array[] = []
  let size = 0
  for await (const chunk of input) {
    const bytes = chunk instanceof Uint8Array ? Buffer.from(chunk) : Buffer.from(String(chunk))
    let at = 0
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, at)) {
      yield Buffer.concat([...parts, bytes.subarray(at, end)])
      parts = []
      size = 0
      at = end + 1
    }
    parts.push(bytes.subarray(at))
    size += bytes.length - at
    if (size > LINE_SIZE_MAX) throw new IoError(`a line is longer than ${LINE_SIZE_MAX} bytes`)
  }
  if (size > 0) yield Buffer.concat(parts)
}
