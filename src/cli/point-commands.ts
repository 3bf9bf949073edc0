/** get, put, del and has: one key at a time. */
import { IoError } from '../errors.ts'
import {
  CONSISTENCIES,
  DURABILITIES,
  type PutOptions,
  type WriteOptions,
} from '../key-value-store.ts'
import { untilAborted } from './abortable.ts'
import type { Command, CommandContext, CommandOption } from './command.ts'
import { callOptions } from './command.ts'
import { decodeArgument, jsonField, showValue } from './data-encoding.ts'
import { ExitCode } from './exit-code.ts'
import { consistencyOption, durabilityOption, durationOption, textOption } from './option-values.ts'
import { formatBytes, renderPairs } from './render.ts'
import { fetchTrace, newestOf, showVersion, verdictOf } from './trace-command.ts'
import { UsageError } from './usage-error.ts'

const KEY_ARGUMENT = { name: 'key', description: '1 to 65,533 bytes' } as const

const CONSISTENCY_OPTION: CommandOption = {
  flags: '--consistency <level>',
  description: 'replicas that must agree: one, quorum or all',
  standard: 'one',
  choices: CONSISTENCIES,
}

export const WRITE_OPTIONS: readonly CommandOption[] = [
  {
    flags: '--durability <level>',
    description: 'sync: fsynced before the answer; interval: soon after; none: when it suits',
    standard: "the server's, sync unless changed",
    choices: DURABILITIES,
  },
  CONSISTENCY_OPTION,
]

/** Standard input is read up to here; a longer value cannot be stored anyway. */
const STDIN_SIZE_MAX = 64 * 1024 * 1024

export function writeOptions(context: CommandContext, timeoutMs?: number): WriteOptions {
  const durability = durabilityOption(context.options)
  const consistency = consistencyOption(context.options)
  return {
    ...callOptions(context, timeoutMs),
    ...(durability === undefined ? {} : { durability }),
    ...(consistency === undefined ? {} : { consistency }),
  }
}

function keyOf(context: CommandContext, index = 0): Uint8Array {
  return decodeArgument(context.args[index] ?? '', context.encoding, 'key')
}

export const getCommand: Command = {
  name: 'get',
  summary: 'print the value of a key',
  details:
    'On a terminal, bytes that cannot be shown are escaped. Into a pipe or file the value goes ' +
    'byte for byte, without a newline behind it (from a list of commands: with one). ' +
    'An absent key prints nothing to stdout and ends with exit code 1.',
  args: [KEY_ARGUMENT],
  options: [
    CONSISTENCY_OPTION,
    { flags: '--meta', description: 'version, writer and expiry instead of the value' },
  ],
  examples: [
    { line: 'kvcli get user:1', says: 'print a value' },
    { line: 'kvcli get user:1 --meta', says: 'written when, and by whom?' },
    { line: 'kvcli get logo > logo.png', says: 'save a value, byte for byte' },
    { line: 'kvcli get --hex 00ff', says: 'a key and its value as hex digits' },
    { line: 'kvcli get user:1 --json', says: '{"key":"user:1","found":true,"value":"Ada"}' },
  ],
  completes: 'keys',
  timed: true,
  async run(context) {
    const { output, encoding, session } = context
    const key = keyOf(context)
    if (context.options['meta'] === true) return await runMeta(context, key)
    const consistency = consistencyOption(context.options)
    const client = await session.client(context.signal)
    const value = await client.get(key, {
      ...callOptions(context),
      ...(consistency === undefined ? {} : { consistency }),
    })
    if (output.json) {
      const found = value === undefined ? {} : jsonField('value', value, encoding)
      const result = { ...jsonField('key', key, encoding), found: value !== undefined, ...found }
      await output.print(result, () => '')
    } else if (value === undefined) {
      output.note(output.noteStyle.dim('(absent)'))
    } else if (output.isTerminal || encoding !== 'text') {
      await output.writeText(`${showValue(value, encoding)}\n`)
    } else {
      await output.writeBytes(value)
      if (session.mode !== 'once') await output.writeText('\n')
    }
    return value === undefined ? ExitCode.failed : ExitCode.ok
  },
}

/** What is known of the newest copy of the key, a deletion included. */
async function runMeta(context: CommandContext, key: Uint8Array): Promise<ExitCode> {
  const { output, encoding } = context
  const trace = await fetchTrace(context, key)
  const newest = newestOf(trace)
  const { state = 'absent', version, expiryMs = 0, size } = newest ?? {}
  const found = state === 'value'
  const result = { ...jsonField('key', key, encoding), found, state, version, expiryMs, size }
  await output.print({ ...result, agreed: trace.agreed }, () => {
    const pairs: [string, string][] = [['state', state]]
    if (newest !== undefined) pairs.push(['version', showVersion(newest)])
    if (expiryMs !== 0) pairs.push(['expires', new Date(expiryMs).toISOString()])
    if (size !== undefined) pairs.push(['size', formatBytes(size)])
    pairs.push(['replicas', verdictOf(trace, output.style)])
    return renderPairs(pairs, output.style).trimEnd()
  })
  return found ? ExitCode.ok : ExitCode.failed
}

export const putCommand: Command = {
  name: 'put',
  aliases: ['set'],
  summary: 'store a value under a key',
  details:
    "The value is the argument, standard input when it is '-', or a file's content with " +
    '--file. With --hex and --base64 only arguments are digits; files are taken as they are.\n\n' +
    "In front of a key or value that begins with '-' write '--'.",
  args: [KEY_ARGUMENT, { name: 'value', description: "the value, or '-'", required: false }],
  options: [
    {
      flags: '-f, --file <path>',
      description: "store this file's content; '-' is stdin",
      completes: 'files',
    },
    { flags: '--ttl <duration>', description: 'the key is gone after 10s, 5m, 2h, 1d' },
    ...WRITE_OPTIONS,
  ],
  examples: [
    { line: 'kvcli put user:1 Ada', says: 'store a text' },
    { line: 'kvcli put logo --file logo.png', says: 'store a file' },
    { line: 'date | kvcli put now -', says: 'store what another program prints' },
    { line: 'kvcli put session:9 x --ttl 30m', says: 'store it for half an hour' },
    { line: 'kvcli put --base64 AAE= /w==', says: 'store bytes' },
    { line: 'kvcli put -- temperature -5C', says: "what begins with '-'" },
  ],
  completes: 'keys',
  timed: true,
  async run(context) {
    const { output, encoding, session, options } = context
    const key = keyOf(context)
    const ttlMs = durationOption(options, 'ttl')
    const write: PutOptions = {
      ...writeOptions(context),
      ...(ttlMs === undefined ? {} : { ttlMs }),
    }
    const value = await valueToPut(context)
    const client = await session.client(context.signal)
    await client.put(key, value, write)
    const result = { ok: true, ...jsonField('key', key, encoding), valueBytes: value.length }
    await output.print(result, () => output.style.good('OK'))
    return ExitCode.ok
  },
}

async function valueToPut(context: CommandContext): Promise<Uint8Array> {
  const { args, options, session } = context
  const path = textOption(options, 'file')
  const text = args[1]
  if (path !== undefined && text !== undefined) {
    throw new UsageError('give a value or --file, not both')
  }
  if (path === undefined && text === undefined) {
    throw new UsageError("a value is missing: put <key> <value>, '-' for stdin, or --file <path>")
  }
  if (text !== undefined && text !== '-') {
    return decodeArgument(text, context.encoding, 'value')
  }
  if (path !== undefined && path !== '-') return await session.io.files.readBytes(path)
  if (session.mode !== 'once') {
    throw new UsageError("'-' reads standard input, which holds the commands here: use --file")
  }
  return await readAll(untilAborted(session.io.stdin, context.signal))
}

async function readAll(stdin: AsyncIterable<unknown>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of stdin) {
    const bytes = chunk instanceof Uint8Array ? chunk : Buffer.from(String(chunk), 'utf8')
    chunks.push(bytes)
    size += bytes.length
    if (size > STDIN_SIZE_MAX) {
      throw new IoError(`standard input is longer than ${formatBytes(STDIN_SIZE_MAX)}`)
    }
  }
  return Buffer.concat(chunks)
}

export const delCommand: Command = {
  name: 'del',
  aliases: ['delete', 'rm'],
  summary: 'remove keys',
  details: 'Removing a key that is not there is no error.',
  args: [{ ...KEY_ARGUMENT, variadic: true }],
  options: WRITE_OPTIONS,
  examples: [
    { line: 'kvcli del user:1', says: 'remove one key' },
    { line: 'kvcli del a b c', says: 'remove three' },
  ],
  completes: 'keys',
  timed: true,
  async run(context) {
    const { args, output, session } = context
    const keys = args.map((_, index) => keyOf(context, index))
    const write = writeOptions(context)
    const client = await session.client(context.signal)
    if (keys.length === 1) await client.delete(keys[0]!, write)
    else {
      const operations = keys.map(key => ({ type: 'del', key }) as const)
      await client.batch(operations, write)
    }
    await output.print({ ok: true, keys: keys.length }, () => output.style.good('OK'))
    return ExitCode.ok
  },
}

export const hasCommand: Command = {
  name: 'has',
  aliases: ['exists'],
  summary: 'tell whether a key is there',
  details: 'Prints true or false, and ends with exit code 0 or 1.',
  args: [KEY_ARGUMENT],
  options: [CONSISTENCY_OPTION],
  examples: [{ line: 'if kvcli has lock; then …', says: 'in a script' }],
  completes: 'keys',
  timed: true,
  async run(context) {
    const { output, encoding, session } = context
    const key = keyOf(context)
    const consistency = consistencyOption(context.options)
    const client = await session.client(context.signal)
    const value = await client.get(key, {
      ...callOptions(context),
      ...(consistency === undefined ? {} : { consistency }),
    })
    const found = value !== undefined
    await output.print({ ...jsonField('key', key, encoding), found }, () => String(found))
    return found ? ExitCode.ok : ExitCode.failed
  },
}
