/** help, and what only the REPL has: history, connect, quit. */

import { closestWord } from '../edit-distance.ts'
import { KvError } from '../errors.ts'
import type { CallOptions } from '../key-value-store.ts'
import type { Command } from './command.ts'
import { usageOf } from './command.ts'
import { ExitCode } from './exit-code.ts'
import type { RemoteStore } from './remote-store.ts'
import { normalizeUrl } from './session.ts'
import { UsageError } from './usage-error.ts'

export const helpCommand: Command = {
  name: 'help',
  summary: 'explain kvcli, or one command',
  args: [{ name: 'command', description: 'its name', required: false }],
  options: [],
  examples: [{ line: 'kvcli help import', says: 'everything about import' }],
  completes: 'commands',
  needsServer: false,
  async run({ args, output, parser }) {
    const [name] = args
    const command = name === undefined ? undefined : parser.find(name)
    if (name !== undefined && command === undefined) {
      const names = parser.commands.map(known => known.name)
      const closest = closestWord(name, names)
      const meant = closest === undefined ? '' : `did you mean '${closest}'? `
      throw new UsageError(`there is no command '${name}'; ${meant}there are: ${names.join(', ')}`)
    }
    const shown = command === undefined ? parser.commands : [command]
    await output.print({ commands: shown.map(describe) }, () => parser.helpText(command).trimEnd())
    return ExitCode.ok
  },
}

function describe(command: Command): Record<string, unknown> {
  const { name, aliases, summary, details, lists, options, examples } = command
  return { name, usage: usageOf(command), aliases, summary, details, lists, options, examples }
}

export const historyCommand: Command = {
  name: 'history',
  summary: 'list the commands typed before, the last one at the end',
  args: [],
  options: [],
  examples: [],
  replOnly: true,
  async run({ output, session }) {
    const lines = session.history()
    const width = String(lines.length).length
    await output.print({ history: lines }, () =>
      lines
        .map((line, index) => `${output.style.dim(String(index + 1).padStart(width))}  ${line}`)
        .join('\n'),
    )
    return ExitCode.ok
  },
}

export const connectCommand: Command = {
  name: 'connect',
  summary: 'go to another server',
  args: [{ name: 'url', description: 'kv://host:port' }],
  options: [],
  examples: [{ line: 'connect kv://10.0.0.7:7700', says: 'the commands that follow go there' }],
  replOnly: true,
  async run({ args, output, session, signal, timeoutMs }) {
    await session.moveTo(normalizeUrl(args[0] ?? ''))
    const { url } = session
    // Connects in the background; the commands that follow wait for it.
    const client = await session.client()
    const why = await answerOf(client, {
      signal,
      timeoutMs: Math.min(timeoutMs ?? WAIT_MS, WAIT_MS),
    })
    const ok = why === undefined
    await output.print(ok ? { ok, url } : { ok, url, why }, () =>
      ok
        ? `now at ${url}`
        : `nothing answers at ${url} so far (${why}); the commands that follow go there`,
    )
    return ok ? ExitCode.ok : ExitCode.unreachable
  },
}

/** Undefined when a server answers, else what is the matter. */
async function answerOf(client: RemoteStore, options: CallOptions): Promise<string | undefined> {
  try {
    await client.ping(options)
    return undefined
  } catch (error) {
    if (error instanceof KvError && error.code !== 'KV_ABORTED') return error.message
    throw error
  }
}

/** Whoever typed the command waits. */
const WAIT_MS = 1000

export const quitCommand: Command = {
  name: 'quit',
  aliases: ['exit'],
  summary: 'leave; Ctrl-D does the same',
  args: [],
  options: [],
  examples: [],
  replOnly: true,
  async run({ output, session }) {
    session.end()
    if (output.json) await output.print({ ok: true }, () => '')
    return ExitCode.ok
  },
}
