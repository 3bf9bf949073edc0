// Goal: what bash, zsh and fish are told fits what stands in the line, in any quotes, and never
// disturbs whoever is typing; the scripts that ask for it do so as their shells call them.
// Method: the hidden command over a store in memory, for lines cut off at any place; words that are
// quoted read back by bash, over random characters; the script of bash in bash, its program faked.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { describe, test } from 'node:test'
import { ExitCode } from '../../src/cli/exit-code.ts'
import { quoteShellWord, splitShellLine } from '../../src/cli/shell-words.ts'
import { seededRandom } from '../../src/random.ts'
import { CliHarness, type CliHarnessOptions, runCli } from '../support/cli-harness.ts'
import { MemoryCliFiles } from '../support/memory-cli-files.ts'
import { MemoryStore } from '../support/memory-store.ts'

const BREAKS = ' \t\n"\'><=;|&(:'

const STORE = {
  'user:1': 'a',
  'user:2': 'b',
  'with space': 'c',
  "it's": 'd',
  $home: 'e',
  'b\nc': 'unseen',
}
const CONTEXTS = JSON.stringify({
  version: 1,
  contexts: { prod: { url: 'kv://prod:1' }, proof: { url: 'kv://proof:2' } },
})

function world(): Omit<CliHarnessOptions, 'argv'> {
  const files = new MemoryCliFiles({ '/config/kvcli/contexts.json': CONTEXTS })
  return { store: MemoryStore.with(STORE), files }
}

/** The answer without its last newline. */
async function answerOf(argv: readonly string[]): Promise<string[]> {
  const run = await runCli(argv, world())
  assert.deepEqual([run.code, run.err], [ExitCode.ok, ''])
  assert.match(run.out, /\n$/)
  return run.out.slice(0, -1).split('\n')
}

async function inBash(line: string): Promise<string[]> {
  return await answerOf(['__complete', 'bash', line, BREAKS])
}

describe('in bash', () => {
  for (const [line, ...expected] of [
    ['kvcli conte', 'words', 'context'],
    ['kvcli --timeout 3s conte', 'words', 'context'],
    ['kvcli --url a:1 context u', 'words', 'use'],
    ['kvcli context use pro', 'words', 'prod', 'proof'],
    ['kvcli --context pro', 'words', 'prod', 'proof'],
    ['kvcli get --consistency q', 'words', 'quorum'],
    ['kvcli get --consis', 'words', '--consistency'],
    ['kvcli latency -o p', 'words', 'ping', 'put'],
    ['kvcli completion ', 'words', 'bash', 'fish', 'zsh'],
    ['kvcli help lat', 'words', 'latency'],
    ['kvcli import ', 'files'],
    ['kvcli put k --file x', 'files'],
    ['kvcli --tls-ca ', 'files'],
    ['kvcli cluster st', 'words', 'status'],
    ['kvcli nonsense ', 'words'],
    ['kvcli get -- --j', 'words'],
    // Keys. Behind a colon bash puts in what stands behind it.
    ['kvcli get user:', 'words', '1', '2'],
    ['kvcli get use', 'words', 'user:1', 'user:2'],
    ['kvcli get "user:', 'words', 'user:1', 'user:2'],
    ['kvcli scan --prefix user:', 'words', '1', '2'],
    ['kvcli trace get user:1', 'words', '1'],
    ['kvcli get wi', 'words', 'with\\ space'],
    ['kvcli get with\\ s', 'words', 'with\\ space'],
    ['kvcli get "with ', 'words', 'with space'],
    ["kvcli get it\\'", 'words', "it\\'s"],
    ["kvcli get 'it", 'words'],
    ['kvcli get "$', 'words', '\\$home'],
    ['kvcli get \\$', 'words', '\\$home'],
    // One that cannot be seen, and digits.
    ['kvcli get b', 'words'],
    ['kvcli --hex get ', 'words'],
  ] as const) {
    test(line, async () => assert.deepEqual(await inBash(line), expected))
  }

  test('asks the server that the line will go to', async () => {
    for (const [line, url] of [
      ['kvcli get -u other:7 use', 'kv://other:7'],
      ['kvcli --context proof get use', 'kv://proof:2'],
      ['kvcli get use', 'kv://127.0.0.1:7700'],
    ] as const) {
      const run = await runCli(['__complete', 'bash', line, BREAKS], world())
      assert.deepEqual(
        run.connects.map(connect => [connect.url, connect.timeoutMs]),
        [[url, 400]],
      )
      assert.equal(run.store.closed, true)
    }
  })

  test('says nothing of what is wrong', async () => {
    for (const line of ['kvcli --context nobody get u', 'kvcli -u http://x get u', 'kvcli get u']) {
      const harness = new CliHarness({ argv: ['__complete', 'bash', line, BREAKS], ...world() })
      harness.reachable = false
      assert.equal(await harness.run(), ExitCode.ok)
      assert.deepEqual([harness.out, harness.err], ['words\n', ''])
    }
    const files = new MemoryCliFiles({ '/config/kvcli/contexts.json': 'no JSON' })
    const argv = ['__complete', 'bash', 'kvcli context use ', BREAKS]
    assert.equal((await runCli(argv, { files })).out, 'words\n')
  })

  test('asks nobody for what is no key', async () => {
    const run = await runCli(['__complete', 'bash', 'kvcli cluster ', BREAKS], world())
    assert.deepEqual(run.connects, [])
  })
})

describe('in zsh and fish', () => {
  test('words come as they are, for these shells quote them', async () => {
    for (const shell of ['zsh', 'fish']) {
      const keys = await answerOf(['__complete', shell, 'get', 'user:'])
      assert.deepEqual(keys, ['words', 'user:1', 'user:2'])
      // What zsh gives where nothing stands in front.
      assert.ok((await answerOf(['__complete', shell, '', ''])).includes('latency'))
    }
  })
})

/** What bash makes of each word. */
function readByBash(words: readonly string[]): string[] {
  const script = `printf '%s\\0' ${words.join(' ')}`
  const { stdout, status } = spawnSync('bash', ['--norc', '-c', script], { encoding: 'utf8' })
  assert.equal(status, 0)
  return stdout.split('\0').slice(0, -1)
}

test('a word that is quoted is the word again, to bash and to the splitter', () => {
  const random = seededRandom(5)
  const alphabet = Array.from('ab:/=@ \'"\\$`!*?~#()[]{}<>|&;%^é\u{1f600}')
  const words = Array.from({ length: 300 }, () => {
    const length = 1 + random.below(8)
    return Array.from({ length }, () => alphabet[random.below(alphabet.length)]).join('')
  })
  const bare = words.map(word => quoteShellWord(word, '')!)
  assert.deepEqual(readByBash(bare), words)
  for (const quote of ['"', "'"] as const) {
    const pairs = words.flatMap(word => {
      const quoted = quoteShellWord(word, quote)
      return quoted === undefined ? [] : [[word, `${quote}${quoted}`] as const]
    })
    assert.ok(pairs.length > 100)
    assert.deepEqual(
      readByBash(pairs.map(([, quoted]) => quoted + quote)),
      pairs.map(([word]) => word),
    )
    for (const [word, quoted] of pairs) {
      assert.deepEqual(splitShellLine(`kvcli ${quoted}`), { before: ['kvcli'], text: word, quote })
      assert.equal(splitShellLine(quoted + quote).text, word)
    }
  }
  for (const [index, word] of words.entries()) {
    assert.deepEqual(splitShellLine(`a  ${bare[index]}`), { before: ['a'], text: word, quote: '' })
    assert.deepEqual(splitShellLine(`${bare[index]} `), { before: [word], text: '', quote: '' })
  }
})

test('the script of bash asks as it should, and offers what it is told', async () => {
  const { out: script } = await runCli('completion bash')
  const driver = `
    kvcli() { printf '[%s]' "$@" >&2; printf '%s\\n' words 'a b' '*'; }
    ${script}
    complete -p kvcli
    COMP_LINE='kvcli get user: --json' COMP_POINT=15 COMP_WORDBREAKS=':='
    _kvcli kvcli
    printf '<%s>' "\${COMPREPLY[@]}"
    kvcli() { echo files; }
    _kvcli kvcli
    printf '%s' "\${#COMPREPLY[@]}"`
  const { stdout, stderr } = spawnSync('bash', ['--norc', '-c', driver], { encoding: 'utf8' })
  assert.equal(stdout, 'complete -F _kvcli kvcli\n<a b><*>0')
  // It is silent about what its program writes to stderr.
  assert.equal(stderr, '')
})
