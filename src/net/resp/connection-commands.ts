/** Commands about the connection itself. Semantics and error texts are those of networking.c. */
import { AuthenticationError, InvalidArgumentError } from '../../errors.ts'
import type { MaybePromise } from '../request-handler.ts'
import { syntaxError, wrongArity } from './command.ts'
import { container, type RunCall, type RunCommand } from './command-table.ts'
import { requireDatabase } from './key-commands.ts'
import { parseInt64 } from './numbers.ts'
import { CommandError, OK, type Reply, ReplyMap, type RespVersion, Status } from './reply.ts'
import type { RespSession } from './resp-session.ts'

const PONG = new Status('PONG')
const RESET = new Status('RESET')
const NAME_SIZE_MAX = 512
/** The version of Redis whose commands these are. */
export const REDIS_VERSION = '7.0.15'

function ping({ args }: RunCall): Reply {
  if (args.count > 2) throw wrongArity('ping')
  return args.count === 1 ? PONG : args.at(1).slice()
}

function login(session: RespSession, user: string, password: string): MaybePromise<void> {
  try {
    const admitted = session.login(user, password)
    return admitted instanceof Promise ? admitted.catch(refuseLogin) : admitted
  } catch (error) {
    refuseLogin(error)
  }
}

/** Says it as Redis does. */
function refuseLogin(error: unknown): never {
  const isRefused = error instanceof AuthenticationError || error instanceof InvalidArgumentError
  if (!isRefused) throw error
  throw new CommandError('WRONGPASS invalid username-password pair or user is disabled.')
}

/** What is replied once somebody is in. */
function afterLogin(admitted: MaybePromise<void>, reply: () => Reply): MaybePromise<Reply> {
  return admitted instanceof Promise ? admitted.then(reply) : reply()
}

function auth({ args, session, context }: RunCall): MaybePromise<Reply> {
  if (args.count > 3) throw syntaxError()
  if (args.count === 3) {
    return afterLogin(login(session, utf8(args.at(1)), utf8(args.at(2))), () => OK)
  }
  if (!context.doorkeeper.asksForPassword) {
    throw new CommandError(
      'ERR AUTH <password> called without any password configured for the default user. Are ' +
        'you sure your configuration is correct?',
    )
  }
  return afterLogin(login(session, context.doorkeeper.user, utf8(args.at(1))), () => OK)
}

function utf8(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('utf8')
}

function hello(call: RunCall): MaybePromise<Reply> {
  const { args, session } = call
  const version = args.count > 1 ? parseInt64(args.at(1)) : session.version
  if (version === undefined) {
    throw new CommandError('ERR Protocol version is not an integer or out of range')
  }
  if (version !== 2 && version !== 3) throw new CommandError('NOPROTO unsupported protocol version')
  let name: string | undefined
  let credentials: readonly [string, string] | undefined
  for (let index = 2; index < args.count; index++) {
    const word = args.word(index)
    if (word === 'AUTH' && index + 2 < args.count) {
      credentials = [utf8(args.at(index + 1)), utf8(args.at(index + 2))]
      index += 2
    } else if (word === 'SETNAME' && index + 1 < args.count) name = clientName(args.text(++index))
    else throw new CommandError(`ERR Syntax error in HELLO option '${args.text(index)}'`)
  }
  const admitted = credentials === undefined ? undefined : login(session, ...credentials)
  return afterLogin(admitted, () => greet(session, version, name))
}

/** What HELLO comes to, once whoever said a password is in. */
function greet(session: RespSession, version: RespVersion, name: string | undefined): Reply {
  if (!session.open) {
    throw new CommandError(
      'NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO ' +
        '<proto> AUTH <user> <pass> option can be used to authenticate the client and select the ' +
        'RESP protocol version at the same time',
    )
  }
  if (name !== undefined) session.clientName = name
  session.version = version
  return new ReplyMap([
    ['server', 'redis'],
    ['version', REDIS_VERSION],
    ['proto', version],
    ['id', session.id],
    ['mode', 'standalone'],
    ['role', 'master'],
    ['modules', []],
  ])
}

/** Throws CommandError for a name that would not fit a line of CLIENT LIST. */
function clientName(text: string): string {
  if (text.length > NAME_SIZE_MAX) {
    throw new CommandError(`ERR Client names have at most ${NAME_SIZE_MAX} bytes.`)
  }
  if (/^[!-~]*$/.test(text)) return text
  throw new CommandError('ERR Client names cannot contain spaces, newlines or special characters.')
}

function setInfo({ args, session }: RunCall): Reply {
  const value = args.text(3)
  if (!/^[!-~]*$/.test(value) || value.length > NAME_SIZE_MAX) {
    const which = args.text(2).toLowerCase()
    throw new CommandError(`ERR ${which} cannot contain spaces, newlines or special characters.`)
  }
  const word = args.word(2)
  if (word === 'LIB-NAME') session.driver.name = value
  else if (word === 'LIB-VER') session.driver.version = value
  else throw new CommandError(`ERR Unrecognized option '${args.text(2)}'`)
  return OK
}

/** ON or OFF, which change nothing here. */
function switched({ args }: RunCall): Reply {
  if (args.word(2) !== 'ON' && args.word(2) !== 'OFF') throw syntaxError()
  return OK
}

/** Whether commands are replied to from here on. */
function setReplies({ args, session, request }: RunCall): Reply {
  const word = args.word(2)
  if (word !== 'ON' && word !== 'OFF' && word !== 'SKIP') throw syntaxError()
  if (word !== 'SKIP') session.isMuted = word === 'OFF'
  else if (!session.isMuted) session.skipsNext = true
  request.isSilent = word !== 'ON'
  return OK
}

const connection = { group: 'connection', isInstant: true } as const
const HANDSHAKE = ['noscript', 'loading', 'stale', 'fast', 'no_auth', 'allow_busy'] as const

export const CONNECTION_COMMANDS: readonly RunCommand[] = [
  {
    ...{ name: 'ping', arity: -1, since: '1.0.0', ...connection, flags: ['fast'] },
    summary: 'Answers PONG, or what it is given',
    run: ping,
  },
  {
    ...{ name: 'echo', arity: 2, since: '1.0.0', ...connection, flags: ['fast'] },
    summary: 'Answers what it is given',
    run: ({ args }) => args.at(1).slice(),
  },
  {
    ...{ name: 'hello', arity: -1, since: '6.0.0', group: 'connection', flags: HANDSHAKE },
    summary: 'Chooses the version of the protocol, and may say a password and a name',
    run: hello,
    isAlone: true,
  },
  {
    ...{ name: 'auth', arity: -2, since: '1.0.0', group: 'connection', flags: HANDSHAKE },
    summary: 'Says a password',
    isAlone: true,
    run: auth,
  },
  container('acl', '6.0.0', 'server', 'Commands about users'),
  {
    ...{ name: 'acl|whoami', arity: 2, since: '6.0.0', group: 'server', isInstant: true },
    flags: ['noscript', 'loading', 'stale'],
    summary: 'The user of this connection',
    run: ({ session }) => session.access.user,
  },
  {
    ...{ name: 'select', arity: 2, since: '1.0.0', ...connection },
    flags: ['loading', 'stale', 'fast'],
    summary: 'Chooses a database, of which there is one: 0',
    run: ({ args }) => {
      requireDatabase(args.at(1))
      return OK
    },
  },
  {
    ...{ name: 'quit', arity: -1, since: '1.0.0', group: 'connection', flags: HANDSHAKE },
    summary: 'Ends the connection',
    isImmediate: true,
    run: ({ session }) => {
      session.end()
      return OK
    },
  },
  {
    ...{ name: 'reset', arity: 1, since: '6.2.0', group: 'connection', flags: HANDSHAKE },
    summary: 'Makes the connection what it was when it began',
    isImmediate: true,
    isAlone: true,
    run: ({ session }) => {
      session.reset()
      return RESET
    },
  },
  {
    ...{ name: 'client', arity: -2, since: '2.4.0', group: 'connection', flags: [] },
    summary: 'Commands about connections',
    run: () => OK,
  },
  {
    ...{ name: 'client|id', arity: 2, since: '5.0.0', ...connection },
    flags: ['noscript', 'loading', 'stale'],
    summary: 'The number of this connection',
    run: ({ session }) => session.id,
  },
  {
    ...{ name: 'client|getname', arity: 2, since: '2.6.9', ...connection },
    flags: ['noscript', 'loading', 'stale'],
    summary: 'The name of this connection',
    run: ({ session }) => (session.clientName === '' ? null : session.clientName),
  },
  {
    ...{ name: 'client|setname', arity: 3, since: '2.6.9', ...connection },
    flags: ['noscript', 'loading', 'stale'],
    summary: 'Gives this connection a name',
    run: ({ args, session }) => {
      session.clientName = clientName(args.text(2))
      return OK
    },
  },
  {
    ...{ name: 'client|setinfo', arity: 4, since: '7.2.0', ...connection },
    flags: ['noscript', 'loading', 'stale'],
    summary: 'Says which library this client uses',
    run: setInfo,
  },
  {
    ...{ name: 'client|reply', arity: 3, since: '3.2.0', group: 'connection' },
    flags: ['noscript', 'loading', 'stale'],
    summary: 'Whether commands are replied to',
    run: setReplies,
  },
  {
    ...{ name: 'client|no-evict', arity: 3, since: '7.0.0', ...connection },
    flags: ['admin', 'noscript', 'loading', 'stale'],
    summary: 'Accepted, without effect',
    run: switched,
  },
  {
    ...{ name: 'client|no-touch', arity: 3, since: '7.2.0', ...connection },
    flags: ['noscript', 'loading', 'stale'],
    summary: 'Accepted, without effect',
    run: switched,
  },
]
