/** context: servers by name, in a file of the user's (contexts-file.ts). */
import { resolve } from 'node:path'
import { CONSISTENCIES } from '../key-value-store.ts'
import { type TlsPaths, tlsOptions } from './client-tls.ts'
import type { Command, CommandContext } from './command.ts'
import {
  type Context,
  type Contexts,
  checkContextName,
  contextNamed,
  contextsPath,
  readContexts,
  writeContexts,
} from './contexts-file.ts'
import { ExitCode } from './exit-code.ts'
import { consistencyOption, flagOption, textOption } from './option-values.ts'
import { RefusedError } from './refused-error.ts'
import { renderPairs, renderTable } from './render.ts'
import { nameServer } from './server-choice.ts'
import { normalizeUrl } from './session.ts'
import type { Style } from './style.ts'
import { unknownChoice } from './unknown-choice.ts'
import { UsageError } from './usage-error.ts'

const ACTION_ITEMS = [
  ['add', 'keep the server of --url under a name'],
  ['use', 'take it from now on; without a name: none'],
  ['list', 'all of them, with a * at the one in use'],
  ['show', 'one of them; without a name: which server commands go to, and why'],
  ['remove', 'forget one'],
] as const

const ACTIONS = ACTION_ITEMS.map(([action]) => action)
type Action = (typeof ACTIONS)[number]

export const contextCommand: Command = {
  name: 'context',
  summary: 'keep servers under names, and choose one',
  details:
    'Which server a command goes to, the first that says so: --url, --context, DURAMEN_URL, ' +
    'DURAMEN_CONTEXT, the context in use, the cluster that kvd dev runs here, ' +
    "where kvd serve listens. A context's password, consistency and TLS files are used with " +
    'its own servers alone. No password is kept, but the path of the file that holds it.',
  lists: [{ title: 'Actions', items: ACTION_ITEMS }],
  args: [
    { name: 'action', description: ACTIONS.join(', '), choices: ACTIONS },
    { name: 'name', description: 'of the context', required: false, completes: 'contexts' },
  ],
  options: [
    { flags: '--password-file <path>', description: 'add: its first line is the password' },
    {
      flags: '--consistency <level>',
      description: 'add: of commands that name none',
      choices: CONSISTENCIES,
    },
    { flags: '--use', description: 'add: and use it' },
    { flags: '--force', description: 'add: in place of the one of that name' },
  ],
  examples: [
    { line: 'kvcli context add prod --url kvs://ada@node1,node2 --tls-ca ca.pem', says: 'keep' },
    { line: 'kvcli context use prod', says: 'from now on' },
    { line: 'kvcli context show prod --json', says: 'for programs' },
    { line: 'kvcli context show', says: 'where do my commands go?' },
  ],
  needsServer: false,
  run: runContext,
}

async function runContext(context: CommandContext): Promise<ExitCode> {
  const [text = '', name] = context.args
  const action = ACTIONS.find(known => known === text)
  if (action === undefined) {
    throw unknownChoice('context', text, ACTIONS)
  }
  checkOptions(context, action)
  const contexts = await readContexts(context.session.io)
  switch (action) {
    case 'list':
      if (name !== undefined) throw new UsageError('context list takes no name')
      return await runList(context, contexts)
    case 'show':
      return name === undefined ? await runWhere(context) : await runShow(context, contexts, name)
    case 'use':
      return await runUse(context, contexts, name)
    case 'add':
      return await runAdd(context, contexts, required(name, action))
    case 'remove':
      return await runRemove(context, contexts, required(name, action))
  }
}

function required(name: string | undefined, action: Action): string {
  if (name !== undefined) return name
  throw new UsageError(`context ${action} needs a name: kvcli context ${action} prod`)
}

/** Options that would be passed over in silence. */
function checkOptions({ options }: CommandContext, action: Action): void {
  if (action === 'add') return
  const own = ['passwordFile', 'consistency', 'use', 'force'].find(name => name in options)
  if (own === undefined) return
  const flag = own.replace(/[A-Z]/, letter => `-${letter.toLowerCase()}`)
  throw new UsageError(`--${flag} belongs to context add`)
}

async function runAdd(
  context: CommandContext,
  contexts: Contexts,
  name: string,
): Promise<ExitCode> {
  const { options, session, output } = context
  checkContextName(name)
  if (contexts.byName.has(name) && !flagOption(options, 'force')) {
    const advice = 'add --force to replace it, or take another name'
    throw new RefusedError(`there is a context '${name}' already`, { advice })
  }
  const added = contextToAdd(context)
  const isUsed = flagOption(options, 'use')
  await writeContexts(session.io, {
    inUse: isUsed ? name : contexts.inUse,
    byName: new Map([...contexts.byName, [name, added]]),
  })
  await output.print({ ok: true, name, ...added, inUse: isUsed }, () => {
    if (isUsed) return `'${name}' is ${added.url}, and in use`
    return `'${name}' is ${added.url}; use it from now on with: kvcli context use ${name}`
  })
  return ExitCode.ok
}

function contextToAdd({ options }: CommandContext): Context {
  const url = textOption(options, 'url')
  if (url === undefined) throw new UsageError('context add needs the address: --url kv://host:port')
  const passwordFile = textOption(options, 'passwordFile')
  const consistency = consistencyOption(options)
  const given = Object.entries(tlsOptions(options))
  // Another directory is the current one when it is used.
  const tls: TlsPaths = Object.fromEntries(given.map(([name, path]) => [name, resolve(path)]))
  const normal = normalizeUrl(url)
  if (given.length > 0 && !normal.startsWith('kvs:')) {
    throw new UsageError('files for TLS go with servers that speak it: use a kvs:// address')
  }
  return {
    url: normal,
    ...(passwordFile === undefined ? {} : { passwordFile: resolve(passwordFile) }),
    ...(consistency === undefined ? {} : { consistency }),
    ...(given.length === 0 ? {} : { tls }),
  }
}

async function runUse(
  { session, output }: CommandContext,
  { byName }: Contexts,
  name: string | undefined,
): Promise<ExitCode> {
  const context = name === undefined ? undefined : contextNamed({ inUse: name, byName }, name)
  await writeContexts(session.io, { inUse: name, byName })
  await output.print({ ok: true, inUse: name ?? null }, () => {
    return context === undefined ? 'no context is in use' : `'${name}' is in use: ${context.url}`
  })
  return ExitCode.ok
}

async function runRemove(
  { session, output }: CommandContext,
  contexts: Contexts,
  name: string,
): Promise<ExitCode> {
  contextNamed(contexts, name)
  const byName = new Map(contexts.byName)
  byName.delete(name)
  const wasInUse = contexts.inUse === name
  await writeContexts(session.io, { inUse: wasInUse ? undefined : contexts.inUse, byName })
  await output.print({ ok: true, name, wasInUse }, () => {
    return `'${name}' is forgotten${wasInUse ? ', and no context is in use' : ''}`
  })
  return ExitCode.ok
}

async function runList({ output, session }: CommandContext, contexts: Contexts): Promise<ExitCode> {
  const { inUse, byName } = contexts
  const all = [...byName].map(([name, context]) => ({ name, inUse: name === inUse, ...context }))
  const path = contextsPath(session.io)
  await output.print({ path, contexts: all }, () => {
    if (all.length === 0) return 'none yet: kvcli context add prod --url kv://host:port'
    const rows = all.map(({ name, url, consistency = '', tls = {}, passwordFile, ...rest }) => [
      rest.inUse ? '*' : '',
      name,
      url,
      consistency,
      passwordFile === undefined ? '' : 'file',
      Object.keys(tls).join(', '),
    ])
    const titles = ['', 'name', 'address', 'consistency', 'password', 'tls']
    const columns = titles.map(title => ({ title }))
    return renderTable(columns, rows, output.style).trimEnd()
  })
  return ExitCode.ok
}

async function runShow(
  { output }: CommandContext,
  contexts: Contexts,
  name: string,
): Promise<ExitCode> {
  const context = contextNamed(contexts, name)
  const inUse = contexts.inUse === name
  await output.print({ name, inUse, ...context }, () => renderContext(context, inUse, output.style))
  return ExitCode.ok
}

function renderContext(context: Context, inUse: boolean, style: Style): string {
  const { url, consistency, passwordFile, tls = {} } = context
  const pairs: [string, string][] = [
    ['address', url],
    ['in use', inUse ? 'yes' : 'no'],
  ]
  if (consistency !== undefined) pairs.push(['consistency', consistency])
  if (passwordFile !== undefined) pairs.push(['password file', passwordFile])
  for (const [name, path] of Object.entries(tls)) pairs.push([`tls ${name}`, path])
  return renderPairs(pairs, style).trimEnd()
}

/** Which server commands go to, and what says so. */
async function runWhere({ output, session, options }: CommandContext): Promise<ExitCode> {
  if (session.mode === 'repl') {
    const { url } = session
    await output.print({ url, source: 'this shell' }, () => `${url}, by this shell`)
    return ExitCode.ok
  }
  const { url, source, consistency = null } = await nameServer(session.io, options)
  await output.print({ url, source, consistency }, () => `${url}, by ${source}`)
  return ExitCode.ok
}
