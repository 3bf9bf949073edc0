// Goal: API.md is true: it describes what the engine exports and no more, says of each function
// what it costs and how it fails, and its examples run.
// Method: names are read out of index.ts, the classes and the document and held against each other;
// the examples become modules that run one after another on one database on the real disk.
import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { tsImport } from 'tsx/esm/api'
import { systemClock } from '../../src/clock.ts'
import * as callOptions from '../../src/engine/call-options.ts'
import { NOT_EMBEDDED } from '../../src/engine/db.ts'
import * as engine from '../../src/engine/index.ts'
import { loadHasher } from '../../src/hash.ts'
import * as optionNames from '../../src/option-names.ts'
import { seededRandom } from '../../src/random.ts'
import { projectUrl } from '../support/project-root.ts'
import { temporaryDirectory } from '../support/temp-directory.ts'

const ENGINE = projectUrl('src/engine/')
const DOCUMENT = readFileSync(new URL('API.md', ENGINE), 'utf8')
const INDEX = readFileSync(new URL('index.ts', ENGINE), 'utf8')

interface Section {
  /** As it is called: `db.get`, `open`. */
  readonly name: string
  readonly text: string
  readonly example: string
}

const sections = [...DOCUMENT.matchAll(/^### `(?:new )?([\w.]+)[^\n]*`\n([\s\S]*?)(?=^##)/gm)].map(
  ([, name, text]): Section => {
    const example = /^```ts\n([\s\S]*?)^```$/m.exec(text!)?.[1] ?? ''
    return { name: name!, text: text!, example }
  },
)

/** Names that index.ts exports, those of types apart. */
function exportedNames(): { values: string[]; types: string[] } {
  const values = Object.keys(engine)
  const types: string[] = []
  for (const [, isType, list] of INDEX.matchAll(/^export (type )?\{([^}]*)\}/gm)) {
    for (const item of list!.split(',')) {
      const [, mark, name] = /^\s*(type )?(\w+)\s*$/.exec(item) ?? []
      if (name !== undefined && (isType ?? mark) !== undefined) types.push(name)
    }
  }
  return { values, types }
}

describe('API.md', () => {
  test('describes every function, and no other', () => {
    const store: object = Object.getPrototypeOf(engine.Db.prototype)
    const members = [engine.Db.prototype, store]
      .flatMap(prototype => Object.getOwnPropertyNames(prototype))
      .filter(name => name !== 'constructor' && !NOT_EMBEDDED.includes(name))
      .map(name => `db.${name}`)
    const documented = sections.map(({ name }) => name)
    assert.deepEqual(sorted(documented), sorted([...members, ...exportedNames().values]))
  })

  test('names every type, and no other', () => {
    const table = DOCUMENT.slice(DOCUMENT.indexOf('## Types')).split('\n\n')[1]!
    const rows = table.split('\n').slice(2)
    const named = rows.flatMap(row => [...row.split('|')[1]!.matchAll(/`(\w+)`/g)])
    const { types } = exportedNames()
    assert.ok(types.length > 30)
    assert.deepEqual(sorted(named.map(match => match[1]!)), sorted(types))
  })

  test('says of each function how it fails, what it costs and how it is used', () => {
    for (const { name, text, example } of sections) {
      assert.match(text, /^- \*\*Errors\*\*: \S/m, name)
      assert.match(text, /^- \*\*Cost\*\*: \S/m, name)
      assert.ok(example.includes(name.replace('db.', '.').replace('.status', 'status')), name)
    }
  })

  test('knows only codes that there are', () => {
    const errors = readFileSync(new URL('../errors.ts', ENGINE), 'utf8')
    const known = new Set([...errors.matchAll(/'(KV_\w+)'/g)].map(match => match[1]))
    const used = [...DOCUMENT.matchAll(/`(KV_\w+)`/g)].map(match => match[1])
    assert.deepEqual(
      used.filter(code => !known.has(code)),
      [],
    )
  })

  test('knows the code of every error that the engine raises', () => {
    const errors = readFileSync(new URL('../errors.ts', ENGINE), 'utf8')
    const codes = new Map(
      [...errors.matchAll(/^export class (\w+) [^}]*?readonly code = '(KV_\w+)'/gm)].map(
        ([, name, code]) => [name!, code!],
      ),
    )
    const raised = new Set<string>()
    for (const name of readdirSync(ENGINE)) {
      if (!name.endsWith('.ts')) continue
      const source = readFileSync(new URL(name, ENGINE), 'utf8')
      for (const [, made] of source.matchAll(/new (\w+Error)\(/g)) raised.add(made!)
    }
    const missing = [...raised].filter(name => codes.has(name) && !has(DOCUMENT, codes.get(name)!))
    assert.ok(codes.size > 10 && raised.size > 10)
    assert.deepEqual(missing, [])
  })

  test('names every option of open, and no other', () => {
    const names = membersOf('DbOptions', 'options.ts')
    const { text } = sectionOf('open')
    const list = text.slice(text.indexOf('Options: '), text.indexOf('- **Errors**'))
    assert.deepEqual(sorted(namesIn(list).filter(name => name !== 'null')), sorted(names))
  })

  test('names every option of every call', () => {
    const all = { ...callOptions, ...optionNames }
    const names = Object.values(all).flatMap(known => (known instanceof Set ? [...known] : []))
    assert.ok(names.length > 50)
    const prose = DOCUMENT.replaceAll(/^```[\s\S]*?^```$/gm, '')
    const inCode = [...prose.matchAll(/`([^`\n]+)`/g)].map(match => match[1]).join(' ')
    const missing = [...new Set(names)].filter(name => !new RegExp(`\\b${name}\\b`).test(inCode))
    assert.deepEqual(missing, [])
  })

  test('names every event, and no other', () => {
    const source = readFileSync(new URL('db-event.ts', ENGINE), 'utf8')
    const types = [...source.matchAll(/readonly type: '(\w+)'/g)].map(match => match[1]!)
    assert.ok(types.length > 10)
    const { text } = sectionOf('db.onEvent')
    const others = ['type', 'onEvent', 'open']
    assert.deepEqual(sorted(namesIn(text).filter(name => !others.includes(name))), sorted(types))
  })

  test('names every member of the stats, and no other', async t => {
    await using db = await engine.open(join(temporaryDirectory(t), 'db'))
    const table = sectionOf('db.stats')
      .text.split('\n')
      .filter(line => line.startsWith('|'))
    const words = new Set(namesIn(table.join('\n')))
    const members = new Set<string>()
    const collect = (value: unknown) => {
      if (typeof value !== 'object' || value === null) return
      if (Array.isArray(value)) return void value.forEach(collect)
      for (const [name, member] of Object.entries(value)) {
        members.add(name)
        collect(member)
      }
    }
    collect(db.stats())
    const values = ['space', 'files', 'failure', 'level0', 'debt', 'memoryBudget']
    const others = [...words].filter(name => !members.has(name) && !values.includes(name))
    assert.deepEqual(others, [])
    assert.deepEqual(
      [...members].filter(name => !words.has(name)),
      [],
    )
  })

  test('has examples that run', async t => {
    const folder = temporaryDirectory(t)
    const directory = join(folder, 'data')
    mkdirSync(directory)
    const [clock, random, hasher] = [systemClock(), seededRandom(1), await loadHasher()]
    const db = await engine.open(join(directory, 'db'))
    const path = join(folder, 'examples.mts')
    writeFileSync(
      path,
      `export const runs = [${sections.map(section => functionOf(section.example))}]`,
    )
    const { runs } = (await tsImport(path, import.meta.url)) as {
      runs: ((scope: object) => Promise<void>)[]
    }
    for (const [index, { name, example }] of sections.entries()) {
      const environment = { fileSystem: engine.nodeFileSystem(), hasher, clock }
      const executor = new engine.InlineExecutor(environment)
      assert.doesNotMatch(example, /^await db\.close/m, `${name} would end the other examples`)
      await runs[index]!({ db, directory, clock, random, hasher, executor, engine })
    }
    await db.close()
  })
})

function sectionOf(name: string): Section {
  const found = sections.find(section => section.name === name)
  assert.ok(found !== undefined, `${name} is described`)
  return found
}

/** What stands in backquotes, once each. */
function namesIn(text: string): string[] {
  return [...new Set([...text.matchAll(/`([a-z]\w+)`/g)].map(match => match[1]!))]
}

function has(text: string, name: string): boolean {
  return text.includes(`\`${name}\``)
}

function membersOf(name: string, file: string): string[] {
  const source = readFileSync(new URL(file, ENGINE), 'utf8')
  const start = source.indexOf(`export interface ${name} {`)
  const body = source.slice(start, source.indexOf('\n}', start))
  return [...body.matchAll(/^ {2}readonly (\w+)\??:/gm)].map(match => match[1]!)
}

function sorted(names: readonly string[]): string[] {
  return [...names].sort((a, b) => (a < b ? -1 : 1))
}

function functionOf(example: string): string {
  const names = Object.keys(engine).join(', ')
  return `async (scope: any) => {
const { db, directory, clock, random, hasher, executor } = scope
const { ${names} } = scope.engine
{
${example}
}
}
`
}
