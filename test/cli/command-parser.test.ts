// Goal: words become the command that was meant, or an error in words for whoever typed them; and
// the help says nothing that is not so.
// Method: a table of command lines; every example of every help page through the parser itself.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { tokenize } from '../../src/cli/command-line.ts'
import { CommandParser, GLOBAL_OPTIONS } from '../../src/cli/command-parser.ts'
import { commandsFor } from '../../src/cli/commands.ts'
import { UsageError } from '../../src/cli/usage-error.ts'

const parser = new CommandParser(commandsFor('once'), 'once')
const shellParser = new CommandParser(commandsFor('repl'), 'repl')

function wordsOf(line: string): string[] {
  return tokenize(line).map(({ text }) => text)
}

describe('words', () => {
  for (const [line, name, args, options] of [
    ['', undefined, [], {}],
    ['--json', undefined, [], { json: true }],
    ['-V', undefined, [], { version: true }],
    ['get a', 'get', ['a'], {}],
    ['get "a b"', 'get', ['a b'], {}],
    ['get ""', 'get', [''], {}],
    ['set a b', 'put', ['a', 'b'], {}],
    ['exists a', 'has', ['a'], {}],
    ['rm a b c', 'del', ['a', 'b', 'c'], {}],
    ['ls', 'scan', [], {}],
    ['info', 'stats', [], {}],
    ['put a -', 'put', ['a', '-'], {}],
    ['put a -5', 'put', ['a', '-5'], {}],
    ['put -- -a --b', 'put', ['-a', '--b'], {}],
    ['put -- --help -h', 'put', ['--help', '-h'], {}],
    ['put a b --ttl 5m', 'put', ['a', 'b'], { ttl: '5m' }],
    ['put --ttl=5m a b', 'put', ['a', 'b'], { ttl: '5m' }],
    ['--json get a', 'get', ['a'], { json: true }],
    ['get a --json', 'get', ['a'], { json: true }],
    ['-u kv://x get a -t 2s', 'get', ['a'], { url: 'kv://x', timeout: '2s' }],
    ['scan -p a -n 5 -kr', 'scan', [], { prefix: 'a', limit: '5', keysOnly: true, reverse: true }],
    ['scan --prefix ""', 'scan', [], { prefix: '' }],
    ['help', 'help', [], {}],
    ['help get', 'help', ['get'], {}],
    ['help cluster status', 'help', ['cluster'], { json: false }],
    ['help cluster status --json', 'help', ['cluster'], { json: true }],
    ['--help', 'help', [], { json: false }],
    ['get --help', 'help', ['get'], { json: false }],
    ['--json put -h', 'help', ['put'], { json: true }],
    ['get --nonsense -h', 'help', ['get'], { json: false }],
  ] as const) {
    test(`'${line}' is ${name}`, () => {
      const invocation = parser.parse(wordsOf(line))
      assert.equal(invocation.command?.name, name)
      assert.deepEqual([...invocation.args], args)
      assert.deepEqual({ ...invocation.options }, options)
    })
  }

  for (const [line, message] of [
    ['gte a', /^unknown command 'gte' \(Did you mean get\?\)$/],
    ['kv://ali:sesame@h', /^an address is no command: it goes behind --url$/],
    ['frobnicate', /^unknown command 'frobnicate'; help lists the commands$/],
    ['get', /^missing required argument 'key'; usage: kvcli get <key>$/],
    ['dev', /^missing required argument 'action', one of status, kill, start; usage: kvcli dev </],
    ['debug', /^missing required argument 'action', one of verify, .*; usage: kvcli debug </],
    ['debug verify', /^missing required argument 'path'; usage: kvcli debug </],
    [
      'debug verfiy',
      /^debug does not know 'verfiy': use verify, .*; do you mean verify\?; usage: /,
    ],
    ['debug foo', /^debug does not know 'foo': use verify, repair, .*, readmit; usage: /],
    [
      'get a b',
      /^too many arguments for 'get'\. .* one with spaces needs quotes .*; usage: kvcli get <key>$/,
    ],
    ['del', /^missing required argument 'key'; usage: kvcli del <key\.\.\.>$/],
    ['put a --tll 5s', /^unknown option '--tll' \(Did you mean --ttl\?\); .* goes behind '--'$/],
    ['put a -x', /^unknown option '-x'; a key or value that begins with '-' goes behind '--'$/],
    ['put a b --ttl', /^option '--ttl <duration>' argument missing$/],
    ['history', /^unknown command 'history'/],
  ] as const) {
    test(`'${line}' is refused`, () => {
      assert.throws(
        () => parser.parse(wordsOf(line)),
        error => error instanceof UsageError && message.test(error.message),
      )
    })
  }

  test('leave nothing behind for the next ones', () => {
    parser.parse(wordsOf('put a b --ttl 5m --json'))
    assert.deepEqual({ ...parser.parse(wordsOf('put c d')).options }, {})
    assert.throws(() => parser.parse(['get']))
    assert.equal(parser.parse(wordsOf('get a')).args[0], 'a')
  })
})

describe('help', () => {
  for (const command of commandsFor('repl')) {
    test(`of ${command.name} tells all there is, in lines that fit`, () => {
      for (const known of [parser, shellParser]) {
        if (known.find(command.name) === undefined) continue
        const page = known.helpText(command)
        for (const { flags } of command.options) assert.ok(page.includes(flags), flags)
        for (const { name } of command.args) assert.ok(page.includes(name), name)
        for (const alias of command.aliases?.slice(0, 1) ?? []) assert.ok(page.includes(alias))
        for (const line of page.split('\n')) assert.ok(line.length <= 80, line)
      }
    })

    test(`of ${command.name} has examples that work`, () => {
      const known = command.replOnly === true ? shellParser : parser
      if (command.replOnly !== true) assert.ok(command.examples.length > 0)
      for (const { line } of command.examples) {
        // What a shell of the system would leave for kvcli.
        const parts = line.split(/[|;]/).filter(part => part.includes('kvcli') || part === line)
        const ours = parts.map(part => part.replace(/^.*\bkvcli /, '').replace(/\s*[<>].*$/, ''))
        const meant = ours.map(part => known.parse(wordsOf(part)).command)
        assert.ok(meant.includes(command), line)
      }
    })
  }

  test('of the program names every command and option', () => {
    const page = parser.helpText(undefined)
    for (const { name, summary } of commandsFor('once')) {
      assert.ok(page.includes(`\n  ${name}`), name)
      assert.ok(page.replace(/\s+/g, ' ').includes(summary), summary)
    }
    for (const { flags } of GLOBAL_OPTIONS) assert.ok(page.includes(flags))
    for (const line of page.split('\n')) assert.ok(line.length <= 80, line)
  })

  test('in the shell leaves out what is settled there', () => {
    const page = shellParser.helpText(undefined)
    assert.doesNotMatch(page, /--url|--keep-going|--version|Exit codes/)
    for (const { name } of commandsFor('repl')) assert.ok(page.includes(`\n  ${name}`), name)
  })
})

// Commander wraps to the width of the terminal: a line end of ours within a paragraph would leave
// half a line.
describe('details are paragraphs, and each item of a list is one line', () => {
  for (const { name, details = '', lists = [] } of parser.commands) {
    test(name, () => {
      const lines = details.split('\n')
      lines.forEach((line, index) => {
        assert.ok(!line.startsWith(' '), line)
        assert.ok(line === '' || (lines[index + 1] ?? '') === '', line)
      })
      const page = parser.helpText(parser.find(name))
      for (const { title, items } of lists) {
        assert.ok(page.includes(`\n${title}:\n  ${items[0]![0]}`), title)
        for (const [term, meaning] of items) {
          const line = page.split('\n').find(text => text.startsWith(`  ${term} `))
          assert.ok(line?.endsWith(`  ${meaning}`), line)
        }
      }
    })
  }
})
