// Goal: the house rules that a machine can check stay kept: what is injected is not fetched from
// the machine, files are small and say what they are, nothing lies around unused, the tests are
// where the test command finds them, and README documents every error.
// Method: each check is a function from sources to complaints. It runs over the project, and over
// a planted violation and a near miss, which prove that it can fail.
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the planted sources are plain text
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { batchOf } from '../support/load-tests.ts'
import { markdownPaths, readProjectFile, readSources } from '../support/project-files.ts'
import { lineOf, moduleUses, type SourceText, sourceText } from '../support/source-text.ts'

/** TypeScript with such lines does not compile; documents do. */
const MERGE_MARK = /^(?:<{7}|>{7}) /m
const COLUMNS_MAX = 100
const LINES_MAX = 500

interface Ban {
  readonly pattern: RegExp
  readonly instead: string
  /** The files it holds for. */
  readonly where: RegExp
  /** The files that may. */
  readonly except?: RegExp
}

const IN_SRC = /^src\//
const IN_PROGRAMS = /^src\/cli\//
const CLOCK = /^src\/clock\.ts$/
const EVERYWHERE = /^/

/** Looked for outside of comments and strings. */
const BANS: readonly Ban[] = [
  { pattern: /\bDate\.now\(/, instead: 'Clock.wallMs', where: IN_SRC, except: CLOCK },
  { pattern: /\bnew Date\(\s*\)/, instead: 'Clock.wallMs', where: IN_SRC, except: CLOCK },
  { pattern: /\bperformance\./, instead: 'Clock.monotonicMs', where: IN_SRC, except: CLOCK },
  { pattern: /\bhrtime\b/, instead: 'Clock.monotonicMs', where: IN_SRC, except: CLOCK },
  {
    pattern: /(?<!\.)\bset(?:Timeout|Interval)\(/,
    instead: 'Clock.setTimer',
    where: IN_SRC,
    except: CLOCK,
  },
  {
    pattern: /(?<!\.)\bsetImmediate\(/,
    instead: 'yieldToEventLoop of clock.ts',
    where: IN_SRC,
    except: CLOCK,
  },
  { pattern: /\bMath\.random\(/, instead: 'Random', where: EVERYWHERE },
  { pattern: /\bconsole\./, instead: 'Logger', where: IN_SRC },
  { pattern: /(?:\b(?:await|return)|=>?)\s+fetch\(/, instead: 'net', where: IN_SRC },
  { pattern: /\bprocess\.env\b/, instead: 'options', where: IN_SRC, except: IN_PROGRAMS },
  { pattern: /\bprocess\.exit\b/, instead: 'an error', where: IN_SRC, except: IN_PROGRAMS },
  { pattern: /\bprocess\.std\w+/, instead: 'streams', where: IN_SRC, except: IN_PROGRAMS },
  { pattern: /^(?:export )?let /m, instead: 'state in an object', where: IN_SRC },
  {
    pattern: /^\s*(?:export )?(?:const )?enum /m,
    instead: 'an `as const` object',
    where: EVERYWHERE,
  },
  { pattern: /(?::|<|\||&|\bas|,)\s*any\b(?!\s*[:(])/, instead: 'unknown', where: EVERYWHERE },
  { pattern: /^export default /m, instead: 'a named export', where: EVERYWHERE },
  {
    pattern: /\bcatch\s*(?:\([^)]*\)\s*)?\{\s*\}/,
    instead: 'a named error and what follows from it',
    where: EVERYWHERE,
  },
  { pattern: /\b(?:test|describe|it)\.only\(/, instead: 'all tests', where: /^test\// },
  {
    pattern: /(?<!\.)\bset(?:Timeout|Interval)\(/,
    instead: 'SimClock or an awaited event; tests do not sleep',
    where: /^test\//,
  },
]

/** Spelt in two, so that they are not found here. */
const UNFINISHED = new RegExp(['TO', 'DO|FIX', 'ME|X', 'XX'].join(''))

function bans(source: SourceText): string[] {
  const found: string[] = []
  for (const { pattern, instead, where, except } of BANS) {
    if (!where.test(source.path) || except?.test(source.path) === true) continue
    const match = pattern.exec(source.bare)
    if (match === null) continue
    const line = lineOf(source, match.index + match[0].search(/\S/))
    found.push(`${source.path}:${line} ${match[0].trim()}: use ${instead}`)
  }
  return found
}

function unfinished(source: SourceText): string[] {
  const match = UNFINISHED.exec(source.text)
  return match === null
    ? []
    : [`${source.path}:${lineOf(source, match.index)} ${match[0]}: finish it or open an issue`]
}

function longLines(source: SourceText): string[] {
  const lines = source.text.split('\n')
  // Biome keeps the name of a test and its function on one line, however long.
  const at = lines.findIndex(line => line.length > COLUMNS_MAX && !/^\s*test\(/.test(line))
  return at < 0 ? [] : [`${source.path}:${at + 1} is wider than ${COLUMNS_MAX} columns`]
}

function longFiles(source: SourceText): string[] {
  // Tests may be as long as they need: they are lists, not machines.
  if (source.path.endsWith('.test.ts')) return []
  const count = source.text.trimEnd().split('\n').length
  return count <= LINES_MAX ? [] : [`${source.path} has ${count} lines; split it by its nouns`]
}

function openingComment(source: SourceText): string[] {
  const opening = /^(?:#!.*\n)?(?:'use strict'\n)?(?:\/\*\*?|\/\/)\s+(?:\*\s+)?[^\s*/]/
  return opening.test(source.text) ? [] : [`${source.path} does not open with what it is`]
}

function fileNames(source: SourceText): string[] {
  const name = source.path.split('/').at(-1)!
  if (!/^[a-z0-9]+(?:-[a-z0-9]+)*(?:\.test|\.bench)?\.c?ts$/.test(name)) {
    return [`${source.path} is not named in kebab-case`]
  }
  if (/\b(?:utils?|helpers?|manager|common|misc)\b/.test(name)) {
    return [`${source.path} is named after no noun of the field`]
  }
  return []
}

/** The batches of `npm test` take tests from the folders of test/, and from nowhere else. */
function testPlaces(source: SourceText): string[] {
  const isTest = /\.test\.c?ts$/.test(source.path)
  const found = /^test\/(?!support\/)[^/]+\/[^/]+\.test\.ts$/.test(source.path)
  const inTestFolder = /^test\/(?!support\/)/.test(source.path)
  if (isTest && !found) return [`${source.path} is where the test command does not look`]
  if (inTestFolder && !isTest) return [`${source.path} is no test: it belongs in test/support`]
  return []
}

/** Files that no import leads to, because something else than an import starts them. */
const STARTED_BY_OTHERS = [
  // A worker thread: worker-executor.ts.
  'src/engine/job-worker.ts',
]

/** The sources of what package.json publishes; a file in bin/ starts the program of its name. */
function publishedEntries(packageText: string): string[] {
  const files = packageText.match(/(?<="(?:\.\/)?)(?:dist|bin)\/[\w/.-]+\.c?js(?=")/g) ?? []
  const sources = files.map(path =>
    path
      .replace(/^dist\//, 'src/')
      .replace(/^bin\//, 'src/cli/')
      .replace(/js$/, 'ts'),
  )
  return [...new Set(sources)]
}

/** Source files that cannot be reached from an entry by imports. */
function unused(sources: readonly SourceText[], entries: readonly string[]): string[] {
  const byPath = new Map(sources.map(source => [source.path, source]))
  const reached = new Set<string>()
  const waiting = [...entries]
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    const source = byPath.get(path)
    if (source === undefined || reached.has(path)) continue
    reached.add(path)
    for (const { specifier } of moduleUses(source)) {
      if (specifier?.startsWith('.') !== true) continue
      const url = new URL(specifier, `file:///${path}`)
      waiting.push(url.pathname.slice(1).replace(/\.([cm]?)js$/, '.$1ts'))
    }
  }
  return sources
    .filter(({ path }) => !reached.has(path))
    .map(({ path }) => `${path} is not used by anything that is started`)
}

/** Test files that no batch loads, or more than one. */
function unbatched(batches: readonly string[], tests: readonly string[]): string[] {
  const loaded = batches.flatMap(text => [
    ...Array.from(text.matchAll(/batchOf\('(\w+)'(?:, (\d+), (\d+))?\)/g), match =>
      batchOf(match[1]!, Number(match[2] ?? 1), Number(match[3] ?? 1)),
    ).flat(),
    ...(text.match(/(?<=')\w+\/[\w-]+\.test\.ts(?=')/g) ?? []),
  ])
  return tests
    .map(test => [test, loaded.filter(path => path === test).length] as const)
    .filter(([, count]) => count !== 1)
    .map(([test, count]) => `test/${test} is in ${count} batches of test/support/batches`)
}

function titles(path: string, text: string): string[] {
  const prose = text.replace(/^(```|~~~)[\s\S]*?^\1/gm, '')
  const count = prose.match(/^# \S/gm)?.length ?? 0
  return count === 1 ? [] : [`${path} has ${count} titles (# …), not one`]
}

/** Codes of errors.ts that no table row of the README explains, and those it invents. */
function undocumentedErrors(errorsText: string, readme: string): string[] {
  const union = /type KvErrorCode =([^/]*?)\n\n/.exec(errorsText)?.[1] ?? ''
  const codes = new Set(union.match(/KV_[A-Z_]+/g))
  const rows = readme.split('\n').filter(line => line.trimStart().startsWith('|'))
  const documented = new Set(rows.flatMap(row => row.match(/(?<=^\s*\|\s*`?)KV_[A-Z_]+/) ?? []))
  const missing = [...codes].filter(code => !documented.has(code))
  const invented = [...documented].filter(code => !codes.has(code))
  return [
    ...(codes.size === 0 ? ['errors.ts has no KvErrorCode'] : []),
    ...missing.map(code => `README.md: the table of errors lacks ${code}`),
    ...invented.map(code => `README.md: ${code} does not exist`),
  ]
}

type Check = (source: SourceText) => string[]

/** [check, planted file, planted text, a text in the same file that is fine] */
const CHECKS: readonly [Check, string, string, string][] = [
  [bans, 'src/engine/x.ts', 'const now = Date.now()', '// Date.now()\nconst a = "Date.now()"'],
  [bans, 'src/engine/x.ts', 'new Date()', 'new Date(clock.wallMs())'],
  [bans, 'src/net/x.ts', 'performance.now()', 'clock.monotonicMs()'],
  [bans, 'src/net/x.ts', 'process.hrtime()', 'const time = 1'],
  [bans, 'src/net/x.ts', 'setTimeout(f, 1)', 'socket.setTimeout(1)'],
  [bans, 'src/net/x.ts', 'setInterval(f, 1)', 'clock.setTimer(1, f)'],
  [bans, 'src/net/x.ts', 'setImmediate(f)', 'await yieldToEventLoop()'],
  [bans, 'test/net/x.test.ts', 'Math.random()', 'Math.round(1)'],
  [bans, 'src/cluster/x.ts', "console.log('x')", "logger.info('console.log')"],
  [bans, 'src/cluster/x.ts', 'await fetch(url)', 'source.fetch(url)\nasync fetch(url) {}'],
  [bans, 'src/engine/x.ts', 'process.env.HOME', 'process.pid'],
  [bans, 'src/engine/x.ts', 'process.exit(1)', 'process.exitCode = 1'],
  [bans, 'src/net/x.ts', "process.stdout.write('')", 'output.write()'],
  [bans, 'src/net/x.ts', 'import a\nlet count = 0', 'function f() {\n  let count = 0\n}'],
  [bans, 'src/net/x.ts', 'export enum Color { red }', "const text = 'enum Color'"],
  [bans, 'src/net/x.ts', 'const a: any = 1', 'const any = 1; f({ any: 1 })'],
  [bans, 'test/net/x.test.ts', 'f(x as any)', 'f(x as anything) // as any'],
  [bans, 'bench/x.ts', 'Map<string, any>', 'Promise.any(all)'],
  [bans, 'bench/x.ts', 'a\nexport default 1', 'export { a }'],
  [bans, 'src/net/x.ts', 'try { f() } catch {\n  // why\n}', 'try { f() } catch { g() }'],
  [bans, 'src/net/x.ts', 'try { f() } catch (error) {}', 'try { f() } catch (error) { g(error) }'],
  [bans, 'test/net/x.test.ts', "test.only('x')", "test('x')"],
  [bans, 'test/net/x.test.ts', 'setTimeout(f, 1)', 'await delay(clock, 1)'],
  [unfinished, 'src/x.ts', `// ${['TO', 'DO'].join('')}: later`, '// nothing left to do'],
  [longLines, 'src/x.ts', `a\n${'x'.repeat(101)}`, 'x'.repeat(100)],
  [longFiles, 'src/x.ts', 'x\n'.repeat(501), 'x\n'.repeat(500)],
  [openingComment, 'src/x.ts', "import { a } from './a.ts'", '/** What it is. */'],
  [openingComment, 'src/x.ts', '/** */', '/**\n * What it is. */'],
  [openingComment, 'test/x.ts', '#!/usr/bin/env node\nf()', '#!/usr/bin/env node\n// What.'],
  [fileNames, 'src/engine/wal_writer.ts', '', ''],
  [fileNames, 'src/engine/walWriter.ts', '', ''],
  [fileNames, 'src/engine/string-utils.ts', '', ''],
  [testPlaces, 'test/x.test.ts', '', ''],
  [testPlaces, 'test/engine/deep/x.test.ts', '', ''],
  [testPlaces, 'src/engine/x.test.ts', '', ''],
  [testPlaces, 'test/engine/model.ts', '', ''],
]

const sources = readSources()
const batches = sources.filter(({ path }) => path.startsWith('test/support/batches/'))
const tests = sources.map(({ path }) => path).filter(path => path.endsWith('.test.ts'))

describe('tidy', () => {
  const checks = new Set(CHECKS.map(([check]) => check))
  for (const check of checks) {
    test(`${check.name}`, () => {
      assert.deepEqual(sources.flatMap(check), [])
    })
  }

  test('every source file is used', () => {
    const published = publishedEntries(readProjectFile('package.json'))
    assert.ok(published.length >= 6, 'package.json publishes entries and bins')
    const inSrc = sources.filter(({ path }) => path.startsWith('src/'))
    for (const entry of [...published, ...STARTED_BY_OTHERS]) {
      assert.ok(
        inSrc.some(({ path }) => path === entry),
        `${entry} exists`,
      )
    }
    assert.deepEqual(unused(inSrc, [...published, ...STARTED_BY_OTHERS]), [])
  })

  test('every support file of the tests is used', () => {
    const texts = [readProjectFile('package.json'), ...sources.map(({ text }) => text)]
    const named = new Set(texts.flatMap(text => text.match(/(?<=support\/)[\w-]+\.ts/g) ?? []))
    const started = [...named].map(name => `test/support/${name}`)
    assert.match(texts[0]!, /"test": "[^"]*\/test\/support\/batches\/\*\.js"/)
    started.push(...batches.map(({ path }) => path))
    const inTest = sources.filter(({ path }) => path.startsWith('test/'))
    assert.deepEqual(unused(inTest, [...tests, ...started]), [])
  })

  test('every test is part of npm test, once', () => {
    const texts = batches.map(({ text }) => text)
    const names = tests.map(path => path.replace(/^test\//, ''))
    assert.ok(names.length > 200, 'there are tests')
    assert.deepEqual(unbatched(texts, names), [])
  })

  test('every Markdown file has one title', () => {
    const complaints = markdownPaths().flatMap(path => titles(path, readProjectFile(path)))
    assert.deepEqual(complaints, [])
  })

  test('no file keeps the marks of a merge', () => {
    const marked = markdownPaths().filter(path => MERGE_MARK.test(readProjectFile(path)))
    assert.deepEqual(marked, [])
    assert.match(`text\n${'<'.repeat(7)} HEAD\n`, MERGE_MARK)
  })

  test('README documents every error code', () => {
    const errorsText = readProjectFile('src/errors.ts')
    assert.ok(markdownPaths().includes('README.md'), 'README.md exists')
    assert.deepEqual(undocumentedErrors(errorsText, readProjectFile('README.md')), [])
  })
})

describe('a planted violation is found by', () => {
  for (const [check, path, wrong, right] of CHECKS) {
    test(`${check.name}: ${path} ${JSON.stringify(wrong.slice(0, 60))}`, () => {
      const [complaint, ...others] = check(sourceText(path, wrong))
      assert.ok(complaint?.startsWith(path))
      assert.equal(others.length, 0)
      // Checks of names have no text that is right; the project's own names are their near misses.
      if (right !== '') assert.deepEqual(check(sourceText(path, right)), [])
    })
  }

  test('bans, at its line, and nowhere where it is allowed', () => {
    const text = '/**\n * What.\n */\nconst a = 1\nconst b = Date.now()\n'
    assert.deepEqual(bans(sourceText('src/x.ts', text)), ['src/x.ts:5 Date.now(: use Clock.wallMs'])
    for (const path of ['src/clock.ts', 'test/x.test.ts', 'bench/x.ts']) {
      assert.deepEqual(bans(sourceText(path, text)), [])
    }
    assert.deepEqual(bans(sourceText('src/cli/x.ts', 'process.env.HOME')), [])
  })

  test('the search for unused files', () => {
    const files = [
      sourceText('src/index.ts', "export { a } from './engine/index.ts'"),
      sourceText('src/engine/index.ts', "import '../a.ts'\nawait import('./b.js')"),
      sourceText('src/engine/b.ts', ''),
      sourceText('src/a.ts', ''),
      sourceText('src/island.ts', "import './other-island.ts' // import './a.ts'"),
      sourceText('src/other-island.ts', "import './island.ts'"),
    ]
    assert.deepEqual(unused(files, ['src/index.ts']), [
      'src/island.ts is not used by anything that is started',
      'src/other-island.ts is not used by anything that is started',
    ])
    const entries = '{"main": "./dist/index.js", "bin": {"kvd": "bin/kvd.cjs"}, "x": "dist/x.d.ts"}'
    assert.deepEqual(publishedEntries(entries), ['src/index.ts', 'src/cli/kvd.cts'])
  })

  test('the search for tests that are not run', () => {
    const whole = [...batchOf('lint'), 'engine/scan-shapes.test.ts']
    const [first = '', second = ''] = whole
    const batch = "...batchOf('lint', 1, 2)"
    const own = "loadTests('engine/scan-shapes.test.ts')"
    assert.deepEqual(unbatched([batch, "...batchOf('lint', 2, 2)", own], whole), [])
    assert.deepEqual(unbatched([batch, own], [first, second]), [
      `test/${second} is in 0 batches of test/support/batches`,
    ])
    assert.deepEqual(unbatched([own, own], whole.slice(-1)), [
      'test/engine/scan-shapes.test.ts is in 2 batches of test/support/batches',
    ])
  })

  test('the count of titles', () => {
    assert.deepEqual(titles('a.md', '# One\n\n```sh\n# a comment\n```\n## Two\n'), [])
    assert.equal(titles('a.md', '# One\n# Two\n').length, 1)
    assert.equal(titles('a.md', '## One\n').length, 1)
  })

  test('the comparison of error codes', () => {
    const errorsText = "export type KvErrorCode =\n  | 'KV_CLOSED'\n  | 'KV_IO'\n\n/** x */"
    const row = (code: string) => `| \`${code}\` | when | what to do |\n`
    assert.deepEqual(undocumentedErrors(errorsText, row('KV_CLOSED') + row('KV_IO')), [])
    assert.deepEqual(undocumentedErrors(errorsText, `KV_IO\n${row('KV_CLOSED')}${row('KV_X')}`), [
      'README.md: the table of errors lacks KV_IO',
      'README.md: KV_X does not exist',
    ])
    assert.equal(undocumentedErrors('', '').length, 1)
  })
})
