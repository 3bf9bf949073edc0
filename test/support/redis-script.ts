/** Random commands that Redis and we must answer alike, and whose answers tell no time. */
import type { Random } from '../../src/random.ts'
import type { Argument } from './resp-client.ts'

const KEYS = ['a', 'b', 'c', 'key with spaces', 'k\0\r\n\xff']
const VALUES = [
  ...['', '0', '1', '-1', '12345678901234567890', '9223372036854775807', '-9223372036854775808'],
  ...['9007199254740993', '007', ' 1', '1 ', '+1', '1.5', '-0.1', '3.0e3', '1e17', '1e-7', '.5'],
  ...['0.30000000000000004', '123456789.123456789', '1e4000', 'inf', 'nan', 'text', 'x'.repeat(50)],
  ...['\0\x01\xfe\xff', '*1\r\n$4\r\nPING\r\n'],
]
const INTEGERS = ['0', '1', '-1', '2', '5', '-3', '100', '-100', '9223372036854775807']
const MORE_INTEGERS = ['-9223372036854775808', '9223372036854775808', 'x', '', '1.0', '600000000']
/** Far from now, so that nothing expires meanwhile; or long ago; or no time at all. */
const SECONDS = ['4000000000', '4000000001', '99999999', '1', '0', '-1']
const MORE_SECONDS = ['9223372036854776', '9223372036854775807', 'x', '4100000000']
const MILLISECONDS = ['4000000000123', '4000000000124', '1', '0', '-5', 'x']

/** None that lets anything be slow. */
const SETTINGS = [
  ...[['slowlog-max-len', '5'], ['slowlog-max-len', 'x'], ['nosuch', '1'], ['save']],
  ...[
    ['databases', '3'],
    ['slowlog-log-slower-than', '-2'],
    ['latency-monitor-threshold', '-1'],
  ],
  ...[
    ['slowlog-max-len', '5', 'slowlog-max-len', '6'],
    ['slowlog-max-len', '128', 'x'],
  ],
  ...[['SLOWLOG-max-len', '128', 'latency-monitor-threshold', '0']],
]

type Make = (draw: Draw) => Argument[]

class Draw {
  readonly random: Random

  constructor(random: Random) {
    this.random = random
  }

  of<T>(list: readonly T[]): T {
    return list[this.random.below(list.length)]!
  }

  chance(part: number): boolean {
    return this.random.next() < part
  }

  key = () => this.of(KEYS)
  value = () => this.of(VALUES)
  integer = () => this.of(this.chance(0.8) ? INTEGERS : MORE_INTEGERS)
  seconds = () => this.of(this.chance(0.8) ? SECONDS : MORE_SECONDS)
  milliseconds = () => this.of(MILLISECONDS)
  some = <T>(make: () => T, max = 3): T[] => {
    return Array.from({ length: 1 + this.random.below(max) }, make)
  }
}

function setOptions(draw: Draw): string[] {
  const options: string[] = []
  for (const [word, part] of [
    ['NX', 0.15],
    ['XX', 0.15],
    ['GET', 0.2],
    ['KEEPTTL', 0.15],
    ['nonsense', 0.03],
  ] as const) {
    if (draw.chance(part)) options.push(word)
  }
  if (draw.chance(0.25)) options.push('EXAT', draw.seconds())
  if (draw.chance(0.2)) options.push('pxat', draw.milliseconds())
  if (draw.chance(0.02)) options.push('EX')
  return options.map((word, index) => (index === 0 && draw.chance(0.3) ? word.toLowerCase() : word))
}

const COMMANDS: readonly Make[] = [
  draw => ['set', draw.key(), draw.value(), ...setOptions(draw)],
  draw => ['set', draw.key(), draw.value()],
  draw => ['get', draw.key()],
  draw => [draw.of(['setnx', 'getset', 'append']), draw.key(), draw.value()],
  draw => [draw.of(['getdel', 'strlen', 'type', 'get', 'persist']), draw.key()],
  draw => ['getex', draw.key(), ...draw.of([[], ['PERSIST'], ['EXAT', draw.seconds()], ['EX']])],
  draw => ['getex', draw.key(), 'pxat', draw.milliseconds()],
  draw => ['mget', ...draw.some(draw.key)],
  draw => [
    draw.of(['mset', 'msetnx']),
    ...draw.some(() => [draw.key(), draw.value()]).flat(),
    ...(draw.chance(0.1) ? ['odd'] : []),
  ],
  draw => [draw.of(['getrange', 'substr']), draw.key(), draw.integer(), draw.integer()],
  draw => ['setrange', draw.key(), draw.integer(), draw.value()],
  draw => [draw.of(['incr', 'decr']), draw.key()],
  draw => [draw.of(['incrby', 'decrby']), draw.key(), draw.integer()],
  draw => ['incrbyfloat', draw.key(), draw.value()],
  draw => ['set', draw.key(), draw.of(['10', '0.1', '-5', '9223372036854775806', '3.7'])],
  draw => [draw.of(['del', 'unlink', 'exists', 'touch']), ...draw.some(draw.key)],
  draw => [
    draw.of(['expireat', 'EXPIREAT']),
    draw.key(),
    draw.seconds(),
    ...(draw.chance(0.4) ? draw.some(() => draw.of(['NX', 'XX', 'gt', 'LT', 'ZZ']), 2) : []),
  ],
  draw => ['pexpireat', draw.key(), draw.milliseconds(), ...draw.of([[], ['LT'], ['GT']])],
  draw => [draw.of(['expiretime', 'pexpiretime']), draw.key()],
  draw => [draw.of(['expire', 'pexpire']), draw.key(), draw.of(['-1', '0', 'x', '-9999999999'])],
  draw => [draw.of(['setex', 'psetex']), draw.key(), draw.of(['0', '-1', 'x']), draw.value()],
  draw => [draw.of(['rename', 'renamenx']), draw.key(), draw.key()],
  draw => [
    'copy',
    draw.key(),
    draw.key(),
    ...draw.of([[], [], ['REPLACE'], ['DB', '0'], ['DB', '99'], ['x']]),
  ],
  draw => [draw.of(['ping', 'echo']), ...draw.of([[], ['hello'], ['a', 'b']])],
  draw => ['object', draw.of(['freq', 'refcount']), 'missing'],
  draw => draw.of([['multi'], ['exec'], ['discard'], ['exec']]),
  draw => draw.of([['watch', ...draw.some(draw.key)], ['unwatch'], ['watch']]),
  draw => [draw.of(['select', 'SELECT']), draw.of(['0', '99', 'x', '-1'])],
  draw => ['scan', draw.of(['x', '1x', ' 1']), ...draw.of([[], ['count', '1']])],
  draw => ['scan', '0', ...draw.of([['count', '0'], ['count', 'x'], ['match'], ['nonsense']])],
  draw =>
    draw.of([['get'], ['get', 'a', 'b'], ['nonsense', 'x'], ['client', 'nonsense'], ['incr']]),
  draw => ['config', 'set', ...draw.of(SETTINGS)],
  draw => ['config', 'get', draw.of(['slowlog-max-len', 'SLOWLOG-LOG-slower-than', 'nosuch'])],
  draw => ['slowlog', ...draw.of([['len'], ['reset'], ['get'], ['get', '-2'], ['get', 'x']])],
  draw => ['latency', ...draw.of([['latest'], ['reset'], ['history', 'command'], ['reset', 'x']])],
  draw => ['client', 'setname', draw.of(['me', 'with space', ''])],
  () => ['client', 'getname'],
  draw => ['auth', ...draw.of([['x'], ['default', 'x'], ['me', 'x'], ['a', 'b', 'c']])],
  draw => [
    'command',
    'getkeys',
    ...draw.of([['get', 'x'], ['mset', 'a', '1', 'b', '2'], ['ping']]),
  ],
]

/** At least `count` commands. */
export function redisScript(random: Random, count: number): Argument[][] {
  const draw = new Draw(random)
  const script: Argument[][] = []
  while (script.length < count) {
    const [name, ...rest] = draw.of(COMMANDS)(draw)
    // We do not offer them in a transaction.
    if (name === 'scan' || name === 'auth') script.push(['discard'])
    const isUpper = random.below(4) === 0
    script.push([isUpper ? String(name).toUpperCase() : name!, ...rest])
  }
  return script
}
