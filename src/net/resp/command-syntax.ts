/**
 * How commands are called, for COMMAND DOCS, from which redis-cli takes its hints.
 *
 *   syntax := item*                                   separated by blanks
 *   item   := '[' choice ']' | '<' choice '>' | words '...'?      left out, one of, again and again
 *   choice := words ( '|' words )*
 *   words  := TOKEN? name | TOKEN                     separated by '=' : EX=seconds
 *
 * Names say the type as well: `key`, `seconds`, `unix-time-seconds`, `pattern`.
 */
import { type Reply, ReplyMap, ReplySet, Status } from './reply.ts'

const EXPIRY = 'EX=seconds|PX=milliseconds|EXAT=unix-time-seconds|PXAT=unix-time-milliseconds'
const CONDITION = '[NX|XX|GT|LT]'

const SYNTAX: ReadonlyMap<string, string> = new Map([
  ...names('get getdel strlen incr decr type ttl pttl expiretime pexpiretime persist', 'key'),
  ...names('del unlink exists touch watch mget', 'key...'),
  ...names('setnx getset append', 'key value'),
  ...names('incrby', 'key increment'),
  ...names('decrby', 'key decrement'),
  ...names('incrbyfloat', 'key float'),
  ...names('mset msetnx', 'key=value...'),
  ...names('getrange substr', 'key start end'),
  ...names('rename renamenx', 'key newkey'),
  ...names('setex', 'key seconds value'),
  ...names('psetex', 'key milliseconds value'),
  ...names('expire', `key seconds ${CONDITION}`),
  ...names('pexpire', `key milliseconds ${CONDITION}`),
  ...names('expireat', `key unix-time-seconds ${CONDITION}`),
  ...names('pexpireat', `key unix-time-milliseconds ${CONDITION}`),
  ['set', `key value [NX|XX] [GET] [${EXPIRY}|KEEPTTL]`],
  ['getex', `key [${EXPIRY}|PERSIST]`],
  ['setrange', 'key offset value'],
  ['copy', 'source destination [DB=destination-db] [REPLACE]'],
  ['scan', 'cursor [MATCH=pattern] [COUNT=count] [TYPE=type]'],
  ['keys', 'pattern'],
  ...names('flushdb flushall', '[ASYNC|SYNC]'),
  ['ping', '[message]'],
  ['echo', 'message'],
  ['hello', '[protover]'],
  ['auth', '[username] password'],
  ['select', 'index'],
  ['info', '[section...]'],
  ['client|setname', 'connection-name'],
  ['client|setinfo', '<LIB-NAME=libname|LIB-VER=libver>'],
  ['client|list', '[TYPE=client-type|ID=client-id...]'],
  ['client|kill', 'filter...'],
  ['client|reply', '<ON|OFF|SKIP>'],
  ...names('client|no-evict client|no-touch', '<ON|OFF>'),
  ['config|get', 'parameter...'],
  ['config|set', 'parameter=value...'],
  ...names('command|info command|docs', '[command-name...]'),
  ['command|list', '[FILTERBY=filterby]'],
  ['command|getkeys', 'command [arg...]'],
  ...names('object|encoding object|freq object|idletime object|refcount', 'key'),
  ['memory|usage', 'key [SAMPLES=count]'],
  ['slowlog|get', '[count]'],
  ['latency|history', 'event'],
  ['latency|reset', '[event...]'],
])

const KEYS = ['key', 'newkey', 'source', 'destination']
const INTEGERS = [
  ...['seconds', 'milliseconds', 'increment', 'decrement', 'offset', 'start', 'end', 'count'],
  ...['cursor', 'index', 'destination-db', 'protover', 'client-id'],
]

type Field = readonly [Reply, Reply]

function names(words: string, syntax: string): (readonly [string, string])[] {
  return words.split(' ').map(name => [name, syntax] as const)
}

/** What COMMAND DOCS says of the arguments; undefined when there are none. */
export function argumentsOf(name: string): Reply | undefined {
  const syntax = SYNTAX.get(name)
  return syntax === undefined ? undefined : listOf(syntax.split(' '), [])
}

function listOf(items: readonly string[], flags: readonly string[]): Reply[] {
  // Where a key is among the keys of the command.
  let keyCount = 0
  return items.map(item => {
    const reply = argumentOf(item, flags, keyCount)
    if (KEYS.includes(item.replace('...', ''))) keyCount++
    return reply
  })
}

function argumentOf(item: string, flags: readonly string[], keyIndex: number): Reply {
  const isOptional = item.startsWith('[')
  const own = isOptional ? [...flags, 'optional'] : flags
  const inner = isOptional || item.startsWith('<') ? item.slice(1, -1) : item
  const choices = inner.split('|')
  if (choices.length > 1) {
    const fields: Field[] = [['name', 'option'], ['type', 'oneof'], ...flagsField(own)]
    return new ReplyMap([...fields, ['arguments', listOf(choices, [])]])
  }
  if (inner.endsWith('...')) return argumentOf(inner.slice(0, -3), [...own, 'multiple'], keyIndex)
  const [first, second] = inner.split('=')
  if (second === undefined) return leaf(first!, undefined, own, keyIndex)
  if (isToken(first!)) return leaf(second, first, own, keyIndex)
  const block: Field[] = [['name', `${first}_${second}`], ['type', 'block'], ...flagsField(own)]
  return new ReplyMap([...block, ['arguments', listOf([first!, second], [])]])
}

function leaf(
  word: string,
  token: string | undefined,
  flags: readonly string[],
  keyIndex: number,
): Reply {
  const isPure = isToken(word)
  const type = isPure ? 'pure-token' : typeOf(word)
  const fields: Field[] = [
    ['name', word === 'float' ? 'increment' : word.toLowerCase()],
    ['type', type],
  ]
  if (type === 'key') fields.push(['key_spec_index', keyIndex])
  const shown = isPure ? word : token
  if (shown !== undefined) fields.push(['token', shown])
  return new ReplyMap([...fields, ...flagsField(flags)])
}

function flagsField(flags: readonly string[]): Field[] {
  if (flags.length === 0) return []
  return [['flags', new ReplySet(flags.map(flag => new Status(flag)))]]
}

function isToken(word: string): boolean {
  return word === word.toUpperCase()
}

function typeOf(name: string): string {
  if (KEYS.includes(name)) return 'key'
  if (INTEGERS.includes(name)) return 'integer'
  if (name.startsWith('unix-time')) return 'unix-time'
  if (name === 'float') return 'double'
  return name === 'pattern' ? 'pattern' : 'string'
}
