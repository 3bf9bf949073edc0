// Goal: the shell does what somebody at a keyboard expects: lines run one after another and are
// shown with their results, keys edit, Tab completes, hints come and go, Ctrl-C stops what runs or
// clears what is typed, a lost server is waited for, and history outlives it.
// Method: the whole shell between a fake keyboard and a virtual screen, over a store in memory,
// with a clock that is moved by hand. What is asserted is what the screen shows.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ExitCode } from '../../src/cli/exit-code.ts'
import { TimeoutError } from '../../src/errors.ts'
import { ShellHarness, type ShellOptions, until } from '../support/cli-harness.ts'
import { MemoryCliFiles } from '../support/memory-cli-files.ts'
import { MemoryStore } from '../support/memory-store.ts'

// Readline looks at it: without cursor control it would do without completion and editing.
process.env['TERM'] = 'xterm'

const PROMPT = 'kv@127.0.0.1:7700>'
const HISTORY = '/state/kvcli/history'
const CTRL_C = '\u0003'
const CTRL_D = '\u0004'
const UP = '\u001b[A'
const HOME = '\u001b[H'

function started(options: ShellOptions = {}): Promise<ShellHarness> {
  return ShellHarness.started(options)
}

/** What the screen shows below the greeting. */
function shown(shell: ShellHarness): string[] {
  const lines = shell.screen.lines
  return lines.slice(lines.findIndex(line => line.startsWith("'help' explains")) + 1)
}

describe('the greeting', () => {
  test('tells where we are, once, above the first prompt', async () => {
    const shell = await started()
    assert.deepEqual(shell.screen.lines, [
      'kvcli 1.2.3, connected to kv://127.0.0.1:7700',
      "'help' explains, Tab completes, Ctrl-D leaves",
      PROMPT,
    ])
    assert.equal(shell.keyboard.raw, true)
  })

  test('says when no server answers, and the prompt with it', async () => {
    const shell = await started({ reachable: false })
    assert.match(shell.screen.lines[0]!, /no server answers at kv:\/\/\S+ yet; .*: kvd serve$/)
    assert.equal(shell.screen.lastLine, 'kv@127.0.0.1:7700 (reconnecting)>')
    shell.connection(true)
    await shell.settled()
    assert.equal(shell.screen.lastLine, PROMPT)
  })

  test('shows only the first of several servers', async () => {
    const shell = await started({ argv: '--url kv://one:1,two:2,three:3?timeoutMs=5' })
    assert.equal(shell.screen.lastLine, 'kv@one:1+2>')
  })

  test('waits with lines that were typed before it', async () => {
    const shell = new ShellHarness({ store: MemoryStore.with({ a: '1' }) })
    shell.type('get a\r')
    const code = shell.run()
    await until(
      () => shell.screen.lines.includes(`${PROMPT} get a`),
      () => shell.screen.raw,
    )
    await shell.settled()
    assert.equal(shell.screen.lines[0], 'kvcli 1.2.3, connected to kv://127.0.0.1:7700')
    assert.equal(shown(shell)[1], '1')
    shell.type(CTRL_D)
    assert.equal(await code, ExitCode.ok)
  })
})

describe('a line', () => {
  test('runs, and shows how long it took', async () => {
    const shell = await started()
    await shell.enter('put user:1 {"name":"Ada"}')
    await shell.enter('get user:1')
    assert.deepEqual(shown(shell), [
      `${PROMPT} put user:1 {"name":"Ada"}`,
      'OK',
      '0 us',
      `${PROMPT} get user:1`,
      '{"name":"Ada"}',
      '0 us',
      PROMPT,
    ])
  })

  test('may be empty, or a comment', async () => {
    const shell = await started()
    await shell.enter('')
    await shell.enter('   ')
    await shell.enter('# nothing')
    assert.deepEqual(shown(shell), [PROMPT, `${PROMPT}`, `${PROMPT} # nothing`, PROMPT])
    assert.deepEqual(shell.store.calls, [])
  })

  test('may begin with the name of the program, as examples do', async () => {
    const shell = await started({ store: MemoryStore.with({ a: '1' }) })
    await shell.enter('kvcli get a')
    assert.equal(shown(shell)[1], '1')
  })

  for (const [line, expected] of [
    ['gte a', "error: unknown command 'gte' (Did you mean get?)"],
    ['frobnicate', "error: unknown command 'frobnicate'; help lists the commands"],
    ['get', "error: missing required argument 'key'; usage: get <key>"],
    ['get a --url kv://x', 'error: to go to another server use: connect <url>'],
    ['put x -', "error: '-' reads standard input, which holds the commands here: use --file"],
  ] as const) {
    test(`that is wrong is told so: ${line}`, async () => {
      const shell = await started()
      await shell.enter(line)
      assert.equal(shown(shell)[1], expected)
      assert.deepEqual(shell.store.calls, [])
    })
  }

  test('that fails shows its code and what to do, and the shell goes on', async () => {
    const shell = await started()
    shell.store.failNext = new TimeoutError('put took too long')
    await shell.enter('put a 1')
    assert.deepEqual(shown(shell).slice(1, 3), [
      'error: put took too long [KV_TIMEOUT]',
      '  -> the write may have happened: read the key to find out',
    ])
    await shell.enter('put a 2')
    assert.equal(shell.store.text('a'), '2')
  })

  test('with --json gives JSON, errors too, and nothing else', async () => {
    const shell = await started({ argv: '--json' })
    assert.deepEqual(shell.screen.lines, [PROMPT])
    await shell.enter('put a 1')
    await shell.enter('nope')
    const [, put, , nope] = shell.screen.lines
    assert.deepEqual(JSON.parse(put!), { ok: true, key: 'a', valueBytes: 1 })
    assert.match(nope!, /^\{"error":\{"code":"KV_INVALID_ARGUMENT"/)
  })
})

describe('an open quote', () => {
  test('goes on in the next line, and is one line of the history', async () => {
    const files = new MemoryCliFiles()
    const shell = await started({ files })
    await shell.enter('put a "one')
    assert.equal(shell.screen.lastLine, '...>')
    await shell.enter('')
    await shell.enter('it\'s two"')
    assert.equal(shell.store.text('a'), "one\n\nit's two")
    assert.equal(shell.screen.lastLine, PROMPT)
    await shell.enter('get a')
    const line = 'put a "one\\n\\nit\'s two"'
    assert.equal(files.text(HISTORY), `${line}\nget a\n`)
    shell.type(UP)
    shell.type(UP)
    await shell.settled()
    assert.equal(shell.screen.lastLine, `${PROMPT} ${line}`)
  })

  test('is given up by Ctrl-C', async () => {
    const shell = await started()
    await shell.enter("put a 'b")
    shell.type(CTRL_C)
    await shell.settled()
    assert.equal(shell.screen.lastLine, PROMPT)
    await shell.enter("put c 'd'")
    assert.equal(shell.store.text('a'), undefined)
    assert.equal(shell.store.text('c'), 'd')
  })
})

describe('what is pasted', () => {
  const pasted = 'put a 1\rput b 2\r\r# done\rget a\rscan\rcou'
  const transcript = [
    `${PROMPT} put a 1`,
    'OK',
    `${PROMPT} put b 2`,
    'OK',
    PROMPT,
    `${PROMPT} # done`,
    `${PROMPT} get a`,
    '1',
    `${PROMPT} scan`,
    'a  1',
    'b  2',
    `${PROMPT} cou`,
  ]

  test('runs line by line, each shown above its result; the rest can be edited', async () => {
    const shell = await started()
    shell.type(pasted)
    await until(
      () => shell.line === 'cou',
      () => shell.screen.raw,
    )
    assert.deepEqual(
      shown(shell).filter(line => line !== '0 us'),
      transcript,
    )
    await shell.enter('nt')
    assert.deepEqual(shown(shell).slice(-3), ['2', '0 us', PROMPT])
  })

  test('is told from keys by the terminal: then a Tab is a character', async () => {
    const shell = await started()
    assert.equal(shell.screen.bracketedPaste, true)
    shell.type("\u001b[200~put key 'a\tb'\rput other 'c\td'\u001b[201~")
    await until(
      () => shell.store.text('key') !== undefined,
      () => shell.screen.raw,
    )
    await shell.enter('')
    assert.equal(shell.store.text('key'), 'a\tb')
    assert.equal(shell.store.text('other'), 'c\td')
    shell.type('coun\t')
    await until(
      () => shell.line === 'count',
      () => shell.line,
    )
    shell.type(`${CTRL_C}${CTRL_D}`)
    await shell.settled()
    assert.equal(shell.screen.bracketedPaste, false)
  })
})

describe('Ctrl-C', () => {
  test('stops the command that runs, and drops what was typed behind it', async () => {
    const shell = await started()
    shell.store.hanging = true
    shell.type('put a 1\rput b 2\r')
    await until(
      () => shell.store.calls.length === 1,
      () => shell.screen.raw,
    )
    shell.type(`get typed ahead${CTRL_C}`)
    await shell.settled()
    assert.deepEqual(shown(shell).slice(1, 3), [
      'error: interrupted',
      '  -> the write may have happened: read the key to find out',
    ])
    assert.equal(shell.line, '')
    assert.equal(shell.store.calls.length, 1)
    shell.store.hanging = false
    await shell.enter('put a 2')
    assert.equal(shell.store.text('a'), '2')
  })

  test('reaches a command that came in the same breath', async () => {
    const shell = await started()
    shell.store.hanging = true
    shell.type(`get a\r${CTRL_C}`)
    await shell.settled()
    assert.equal(shown(shell)[1], 'error: interrupted')
  })

  test('clears what is typed, wherever the cursor stands', async () => {
    const shell = await started()
    shell.type(`put a ${HOME}${CTRL_C}`)
    await shell.settled()
    assert.deepEqual(shown(shell), [`${PROMPT} put a ^C`, PROMPT])
    await shell.enter('count')
    assert.equal(shown(shell)[2], '0')
  })

  test('on an empty line says how to leave', async () => {
    const shell = await started()
    shell.type(CTRL_C)
    await shell.settled()
    assert.deepEqual(shown(shell), [`${PROMPT} (Ctrl-D or quit leaves)`, PROMPT])
    assert.equal(shell.exit, undefined)
  })

  test('clears a line that wraps', async () => {
    const shell = await started({ columns: 30 })
    shell.type(`put key ${'v'.repeat(40)}${CTRL_C}`)
    await shell.settled()
    const lines = shell.screen.lines
    assert.equal(lines.at(-1), PROMPT)
    assert.ok(lines.at(-2)?.endsWith('v^C'), lines.at(-2))
  })
})

describe('leaving', () => {
  for (const [how, keys] of [
    ['Ctrl-D', CTRL_D],
    ['quit', 'quit\r'],
    ['exit', 'exit\r'],
  ] as const) {
    test(`by ${how}`, async () => {
      const shell = await started()
      shell.type(keys)
      await until(
        () => shell.exit !== undefined,
        () => shell.screen.raw,
      )
      assert.equal(shell.exit, ExitCode.ok)
      assert.equal(shell.store.closed, true)
      assert.equal(shell.keyboard.raw, false)
      assert.equal(shell.screen.bracketedPaste, false)
      assert.equal(shell.screen.cursor.column, 0)
    })
  }

  test('the end of the input comes after the answers to it', async () => {
    const shell = new ShellHarness({ store: MemoryStore.with({ a: '1' }) })
    const code = shell.run()
    shell.keyboard.end('get a\rput b 2\r')
    assert.equal(await code, ExitCode.ok)
    assert.equal(shown(shell)[1], '1')
    assert.equal(shell.store.text('b'), '2')
  })
})

describe('a server that goes away', () => {
  test('shows in the prompt, and what is being typed stays', async () => {
    const shell = await started()
    shell.type('get us')
    await until(
      () => shell.line.startsWith('get us'),
      () => shell.screen.raw,
    )
    shell.connection(false)
    assert.equal(shell.screen.lastLine, 'kv@127.0.0.1:7700 (reconnecting)> get us')
    shell.connection(true)
    assert.equal(shell.screen.lastLine, `${PROMPT} get us`)
    await shell.enter('er:1')
    assert.equal(shown(shell).at(-3), '(absent)')
  })

  test('is waited for, which is told, and Ctrl-C gives up', async () => {
    const shell = await started()
    shell.connection(false)
    shell.store.hanging = true
    shell.type('get a\r')
    await until(
      () => shell.store.calls.length === 1,
      () => shell.screen.raw,
    )
    assert.ok(!shell.err.includes('waiting'))
    shell.clock.advance(1000)
    assert.equal(shell.screen.lastLine, 'waiting for kv://127.0.0.1:7700; Ctrl-C gives up')
    shell.type(CTRL_C)
    await shell.settled()
    assert.equal(shown(shell).at(-2), '1.00 s')
    assert.equal(shown(shell).at(-4), 'error: interrupted')
  })

  test('connect goes to another one, and a wrong address changes nothing', async () => {
    const shell = await started()
    await shell.enter('connect http://x')
    assert.ok(shown(shell)[1]?.startsWith("error: cannot connect to 'http://x'"))
    assert.equal(shell.screen.lastLine, PROMPT)
    assert.equal(shell.connects.length, 1)
    await shell.enter('connect other:7701')
    assert.equal(shell.screen.lastLine, 'kv@other:7701>')
    assert.equal(shell.connects.at(-1)?.url, 'kv://other:7701')
  })

  for (const [name, env, passwords] of [
    ['that came with an address goes nowhere else', {}, ['sesame', undefined, 'sesame']],
    [
      'of the environment goes to each server that has no other',
      { DURAMEN_PASSWORD: 'common' },
      ['sesame', 'common', 'sesame'],
    ],
  ] as const) {
    test(`a password ${name}`, async () => {
      const shell = await started({ env: { DURAMEN_URL: 'kv://ali:sesame@h:1', ...env } })
      await shell.enter('connect kv://ali@other')
      await shell.enter('connect kv://ali@h:1')
      assert.deepEqual(
        shell.connects.map(({ password }) => password),
        passwords,
      )
    })
  }
})

describe('completion', () => {
  const store = MemoryStore.with({ 'user:1': 'Ada', 'user:2': 'Grace', 'a b': '1', '"q': '2' })

  /** Types keys and waits for the line that they should lead to. */
  async function leadsTo(shell: ShellHarness, keys: string, line: string): Promise<void> {
    shell.type(keys)
    await until(
      () => shell.line === line,
      () => `${JSON.stringify(shell.line)} from ${JSON.stringify(keys)}`,
    )
    shell.type(CTRL_C)
    await shell.settled()
  }

  for (const [keys, line] of [
    ['sc\t', 'scan'],
    ['sc\t\t', 'scan'],
    ['sc\t--pre\tus\t', 'scan --prefix user:'],
    ['get us\t', 'get user:'],
    ['get user:1\t', 'get user:1'],
    ['get a\t', 'get "a b"'],
    ['get "a\t', 'get "a b"'],
    ['get \\\t', 'get \\'],
    ['get "\\"\t', 'get "\\"q"'],
    ['put a b --dur\ts\t', 'put a b --durability sync'],
    ['put a b --consistency q\t', 'put a b --consistency quorum'],
    ['help sc\t', 'help scan'],
    ['cluster st\t', 'cluster status [key]'],
    ['debug --json ver\tus\t', 'debug --json verify users.csv [target]'],
    ['import users.c\t', 'import users.csv'],
    ['import da\tu\t', 'import data/users.jsonl'],
    ['nonsense x\t', 'nonsense x'],
    ['get none\t', 'get none'],
  ] as const) {
    test(`${JSON.stringify(keys)} leads to ${line}`, async () => {
      const files = new MemoryCliFiles({ 'users.csv': '', 'data/users.jsonl': '', '.hidden': '' })
      await leadsTo(await started({ store, files }), keys, line)
    })
  }

  test('a second Tab lists what there is', async () => {
    const shell = await started({ store })
    shell.type('get us\t')
    await until(
      () => shell.line === 'get user:',
      () => shell.line,
    )
    shell.type('\t')
    await until(
      () => shown(shell).includes('user:1  user:2') && shell.line === 'get user:',
      () => shell.screen.lines.join('\n'),
    )
  })

  test('a list that is cut says so, and completes to no more than all have in common', async () => {
    const keys = Array.from({ length: 50 }, (_, number) => [`item:${100 + number}`, 'v'])
    const many = MemoryStore.with(Object.fromEntries(keys) as Record<string, string>)
    const shell = await started({ store: many })
    shell.type('get i\t')
    await until(
      () => shell.line === 'get item:1',
      () => shell.line,
    )
    shell.type('\t')
    await until(
      () => shown(shell).join(' ').includes('item:149'),
      () => shell.screen.lines.join('\n'),
    )
    const text = shown(shell).join(' ')
    assert.match(text, /item:129 +item:1\.\.\. +item:149/)
    assert.doesNotMatch(text, /item:130/)
    assert.equal(shell.line, 'get item:1')
  })

  test('asks no server that is away', async () => {
    const shell = await started({ store, reachable: false })
    const calls = store.calls.length
    shell.type('get us\t')
    await shell.settled()
    assert.equal(store.calls.length, calls)
  })
})

describe('the hint', () => {
  async function hintOf(shell: ShellHarness, keys: string): Promise<string> {
    shell.type(keys)
    await shell.settled()
    return shell.line
  }

  test('says what the command still wants, and goes when that is given', async () => {
    const shell = await started()
    assert.equal(await hintOf(shell, 'put'), 'put <key> [value]')
    assert.equal(await hintOf(shell, ' '), 'put <key> [value]')
    assert.equal(await hintOf(shell, 'a'), 'put a [value]')
    assert.equal(await hintOf(shell, ' b'), 'put a b')
    // Backwards as well, and it is not part of the line.
    assert.equal(await hintOf(shell, '\u007f\u007f'), 'put a [value]')
    await shell.enter(' c')
    assert.equal(shell.store.text('a'), 'c')
    assert.equal(shown(shell)[0], `${PROMPT} put a c`)
  })

  test('stands behind the cursor only, which stays where it is', async () => {
    const shell = await started()
    await hintOf(shell, 'get')
    assert.equal(shell.screen.cursor.column, `${PROMPT} get`.length)
    assert.equal(await hintOf(shell, HOME), 'get')
  })

  test('is left out where it would wrap', async () => {
    const shell = await started({ columns: PROMPT.length + 11 })
    assert.equal(await hintOf(shell, 'get'), 'get <key>')
    assert.equal(await hintOf(shell, '\u007f\u007f\u007fput'), 'put')
  })

  test('is left out without colours, for it would look like something typed', async () => {
    const shell = await started({ env: { NO_COLOR: '1' } })
    assert.equal(await hintOf(shell, 'get'), 'get')
    await shell.enter(' x')
    assert.ok(!shell.screen.raw.includes('\u001b[3'))
  })

  test('takes part in no resize', async () => {
    const shell = await started()
    await hintOf(shell, 'get')
    shell.screen.resize(40)
    await shell.settled()
    await shell.enter(' a')
    assert.equal(shell.store.calls.length, 1)
  })
})

describe('history', () => {
  test('brings back lines, also those of the last time', async () => {
    const files = new MemoryCliFiles({ [HISTORY]: 'put old 1\n' })
    const shell = await started({ files })
    await shell.enter('put new 2')
    await shell.enter('put new 2')
    shell.type(`${UP}${UP}\r`)
    await until(
      () => shell.store.text('old') === '1',
      () => shell.screen.raw,
    )
    await shell.settled()
    await shell.enter('history')
    const lines = ['1  put old 1', '2  put new 2', '3  put old 1', '4  history']
    assert.deepEqual(shown(shell).slice(-5, -1), lines)
    assert.equal(files.text(HISTORY), 'put old 1\nput new 2\nput old 1\nhistory\n')
  })

  test('goes to the file that the environment names, or to none', async () => {
    const files = new MemoryCliFiles()
    const named = await started({ files, env: { KVCLI_HISTFILE: '/elsewhere' } })
    await named.enter('count')
    const none = await started({ files, env: { KVCLI_HISTFILE: '' } })
    await none.enter('count')
    assert.deepEqual([...files.files.keys()], ['/elsewhere'])
  })

  for (const [name, lines] of [
    ['connect', ['connect kv://ali:sesame@h:1']],
    ['the name of the program', ['kvcli connect ali:sesame@h']],
    ['an option', ['get k --url kv://ali:sesame@h:1']],
    ['a query', ['connect kv://h?password=sesame']],
    ['a bare slash', ['connect kv://ali:ses/ame@h']],
    ['several lines', ['connect "kv://ali:ses', 'ame@h"']],
  ] as const) {
    test(`keeps no password: ${name}`, async () => {
      const files = new MemoryCliFiles()
      const shell = await started({ files })
      await shell.enter('count')
      for (const line of lines) await shell.enter(line)
      await shell.enter('connect kv://ali@h:1')
      await shell.enter('history')
      assert.equal(files.text(HISTORY), 'count\nconnect kv://ali@h:1\nhistory\n')
      // Also the keys up to it know only those lines.
      shell.type(`${UP}${UP}${UP}`)
      await until(
        () => shell.line === 'count',
        () => shell.line,
      )
    })
  }

  test('that cannot be written disturbs nobody', async () => {
    const files = new MemoryCliFiles()
    const shell = await started({ files })
    files.failure = new TimeoutError('the disk is away')
    await shell.enter('count')
    assert.equal(shown(shell)[1], '0')
  })
})

test('help in the shell is for the shell', async () => {
  const shell = await started()
  await shell.enter('help')
  const text = shell.screen.lines.join('\n')
  assert.match(text, /Usage: <command> \[options\]/)
  assert.match(text, /Tab completes commands/)
  assert.doesNotMatch(text, /--url|--keep-going|kvcli put/)
  await shell.enter('help get')
  const page = shell.screen.lines.join('\n')
  assert.match(page, /Usage: get \[options\] <key>/)
  assert.match(page, /\n {2}get user:1 --json {2}/)
  assert.doesNotMatch(page, /logo > logo\.png/)
})
