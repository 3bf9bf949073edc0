// Goal: imports point down, and each door to the outside (files, sockets, threads, randomness,
// packages) is in the files named for it, so that all else runs in a simulation.
// Method: every import of every form in src against the tables below; then one planted violation a
// rule, which must be found, and near misses, which must not.
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the planted sources are plain text
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { readSources } from '../support/project-files.ts'
import { moduleUses, type SourceText, sourceText } from '../support/source-text.ts'

/**
 * Layer -> layers it may import. A layer is a folder of src; `base` is the files beside them, but
 * for those of the entry `duramen/level`, which stand above the engine.
 */
const LAYERS: Readonly<Record<string, readonly string[]>> = {
  base: [],
  engine: ['base'],
  net: ['base'],
  level: ['base', 'engine'],
  cluster: ['base', 'engine', 'net'],
  cli: ['base', 'engine', 'net', 'cluster'],
}

/** The package's public entry stands above all layers and reaches them by their doors. */
const ENTRY = 'src/index.ts'

/** Module -> files that may import it. A module that is not listed is imported by no file. */
const MODULE_OWNERS: Readonly<Record<string, RegExp>> = {
  'node:buffer': /^src\/(?:cli\/|net\/http\/scan-lines\.ts$)/,
  'node:child_process': /^src\/cli\//,
  'node:crypto': /^src\/(?:random|secret|net\/tls\/certificate)\.ts$/,
  'node:perf_hooks':
    /^src\/(?:cli\/(?:load-generator|round-trips)|net\/http\/process-metrics)\.ts$/,
  'node:events': /^src\/(?:net|cli)\//,
  'node:fs':
    /^src\/(?:engine\/(?:node-file-system|directory-lock|lock-holder|file-kind)\.ts$|cli\/)/,
  'node:fs/promises': /^src\/(?:cli\/|net\/http\/dashboard-files\.ts$)/,
  'node:http': /^src\/net\/http\//,
  'node:module': /^src\/level-base\.ts$/,
  'node:https': /^src\/net\/http\//,
  'node:net':
    /^src\/net\/(?:acceptor|connector|listener|piecewise-writer|shared-read|tls\/.*)\.ts$/,
  'node:os': /^src\/(?:engine\/(?:directory-lock|lock-holder)\.ts$|cli\/)/,
  'node:path': /^src\/(?:engine\/(?:node-file-system|directory-lock|lock-holder)\.ts$|cli\/)/,
  'node:process': /^src\/cli\//,
  'node:readline': /^src\/cli\//,
  'node:stream': /^src\/cli\//,
  'node:string_decoder': /^src\/cli\//,
  'node:tls': /^src\/net\/tls\//,
  'node:tty': /^src\/cli\//,
  'node:url': /^src\/cli\//,
  'node:util': /^src\/cli\//,
  'node:worker_threads': /^src\/engine\/[^/]*worker[^/]*\.ts$/,
  'node:zlib': /^src\/(?:engine\/block-compression\.ts$|cli\/)/,
  'abstract-level': /^src\/level-(?:base|options)\.ts$/,
  commander: /^src\/cli\//,
  'xxhash-wasm': /^src\/hash\.ts$/,
}

/** What stands in files and memory is plain bytes: it never meets a disk. */
const ENGINE_FORMAT_NAMES = [
  '[\\w-]+-(?:format|codec|frame)',
  'block(?:-builder|-index)?',
  'bloom-filter',
  'file-names',
  'internal-key',
  'memtable',
  'skiplist',
  'table-metadata',
]
const ENGINE_FORMAT = new RegExp(`^src/engine/(?:${ENGINE_FORMAT_NAMES.join('|')})\\.ts$`)
const FILE_SYSTEM =
  /^src\/engine\/(?:file-system|node-file-system|directory-lock|lock-holder|file-kind)\.ts$/

/** The files of the engine that choose the real disk; all others are given theirs. */
const DISK_CHOOSER_NAMES = [
  'db',
  'directory-lock',
  'index',
  'job-worker',
  'lock-holder',
  'node-file-system',
  'offline',
  'open',
]
const DISK_CHOOSERS = new RegExp(`^src/engine/(?:${DISK_CHOOSER_NAMES.join('|')})\\.ts$`)
const DISKS = /^src\/engine\/(?:node-file-system|directory-lock|lock-holder|file-kind)\.ts$/

function layerOf(path: string): string {
  const [, folder, file] = path.split('/')
  if (file !== undefined) return folder!
  return /^level(?:-\w+)?\.ts$/.test(folder!) ? 'level' : 'base'
}

/** The path that a relative specifier means; compiled extensions stand for their sources. */
function resolveSpecifier(path: string, specifier: string): string {
  const parts = path.split('/').slice(0, -1)
  for (const part of specifier.split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '.') parts.push(part)
  }
  return parts.join('/').replace(/\.([cm]?)js$/, '.$1ts')
}

/** Why `path` must not import `specifier`; undefined when it may. */
function objection(path: string, specifier: string | undefined): string | undefined {
  if (specifier === undefined) return 'imports a computed path, which nobody can check'
  if (!specifier.startsWith('.')) {
    const owners = MODULE_OWNERS[specifier]
    if (owners === undefined) return `imports ${specifier}, which no file may`
    return owners.test(path) ? undefined : `imports ${specifier}, which only ${owners.source} may`
  }
  const target = resolveSpecifier(path, specifier)
  if (!target.startsWith('src/')) return `imports ${target}, outside of src`
  if (target === ENTRY) return `imports ${ENTRY}, which is for users of the package`
  if (ENGINE_FORMAT.test(path) && FILE_SYSTEM.test(target))
    return `is a format and imports ${target}`
  if (DISKS.test(target) && !DISK_CHOOSERS.test(path)) {
    return `imports ${target} instead of being given a FileSystem`
  }
  const from = layerOf(path)
  const to = layerOf(target)
  if (from === to) return undefined
  if (path !== ENTRY && LAYERS[from]?.includes(to) !== true) {
    return `imports ${target}, but ${from} must not know ${to}`
  }
  const throughDoor = to === 'base' || target === `src/${to}/index.ts`
  return throughDoor ? undefined : `imports ${target}: go through src/${to}/index.ts`
}

function violations(sources: readonly SourceText[]): string[] {
  const found: string[] = []
  for (const source of sources) {
    if (!source.path.startsWith('src/')) continue
    for (const { specifier, line } of moduleUses(source)) {
      const reason = objection(source.path, specifier)
      if (reason !== undefined) found.push(`${source.path}:${line} ${reason}`)
    }
  }
  return found
}

test('every import in src is allowed', () => {
  const sources = readSources()
  assert.ok(sources.length > 30, 'the sources were found')
  assert.deepEqual(violations(sources), [])
})

describe('a planted violation is found:', () => {
  /** [file, its text, what is said of it] */
  const planted: [string, string, RegExp][] = [
    ['src/bytes.ts', "import { Db } from './engine/index.ts'", /base must not know engine/],
    ['src/engine/db.ts', "import '../net/index.ts'", /engine must not know net/],
    ['src/engine/db.ts', "import '../level-key.ts'", /engine must not know level/],
    ['src/bytes.ts', "import './level.ts'", /base must not know level/],
    ['src/level.ts', "import { connect } from './net/index.ts'", /level must not know net/],
    ['src/level-key.ts', "import type { Db } from './engine/db.ts'", /through src\/engine/],
    ['src/bytes.ts', "import 'abstract-level'", /imports abstract-level, which only/],
    ['src/net/client.ts', "export { Db } from '../engine/index.ts'", /net must not know engine/],
    ['src/net/client.ts', "export * from '../cluster/index.ts'", /net must not know cluster/],
    ['src/engine/db.ts', "const x = await import('../cluster/x.ts')", /must not know cluster/],
    ['src/cluster/store.ts', "import type { Db } from '../engine/db.ts'", /through src\/engine/],
    ['src/cluster/node.ts', "import { x } from '../cli/main.ts'", /cluster must not know cli/],
    ['src/cli/main.ts', "import { serve } from '../net/server.ts'", /through src\/net\/index/],
    ['src/cli/kvd.cts', "require('../net/server.js')", /through src\/net\/index/],
    ['src/index.ts', "export * from './engine/db.ts'", /through src\/engine\/index/],
    ['src/cli/main.ts', "import { open } from '../index.ts'", /for users of the package/],
    ['src/engine/db.ts', "import { x } from '../../test/support/x.ts'", /outside of src/],
    ['src/engine/db.ts', "import { readFileSync } from 'node:fs'", /imports node:fs, which only/],
    ['src/engine/db.ts', "import fs = require('node:fs')", /imports node:fs, which only/],
    ['src/engine/db.ts', "import { x } from 'fs'", /imports fs, which no file may/],
    ['src/net/client.ts', "import { connect } from 'node:net'", /imports node:net, which only/],
    ['src/net/client.ts', "await import('node:tls')", /imports node:tls, which only/],
    ['src/engine/job.ts', "import 'node:worker_threads'", /imports node:worker_threads/],
    ['src/engine/db.ts', "import { randomBytes } from 'node:crypto'", /imports node:crypto/],
    ['src/engine/wal.ts', "import xxhash from 'xxhash-wasm'", /imports xxhash-wasm, which only/],
    ['src/net/x.ts', "import { Command } from 'commander'", /imports commander, which only/],
    ['src/net/x.ts', "import x from 'left-pad'", /imports left-pad, which no file may/],
    ['src/engine/x.ts', 'await import(`./${name}.ts`)', /a computed path/],
    ['src/engine/x.ts', 'require(name)', /a computed path/],
    ['src/engine/wal-format.ts', "import type { File } from './file-system.ts'", /is a format/],
    ['src/engine/compaction.ts', "import { x } from './node-file-system.ts'", /being given/],
    ['src/engine/x.ts', "import {\n  a,\n  b,\n} from\n  'node:fs'", /:4 imports node:fs/],
    ['src/engine/x.ts', "const a = `${'`'}`\nimport 'node:fs'", /:2 imports node:fs/],
    ['src/engine/x.ts', "const a = /[/'\"`]/\nimport 'node:fs'", /:2 imports node:fs/],
    ['src/engine/x.ts', "// it's\nimport 'node:fs' /* ' */", /:2 imports node:fs/],
  ]
  for (const [path, text, expected] of planted) {
    test(`${path}: ${text}`, () => {
      const found = violations([sourceText(path, text)])
      assert.equal(found.length, 1)
      assert.match(found[0]!, expected)
    })
  }

  test('and a near miss is not', () => {
    const allowed: [string, string][] = [
      ['src/engine/db.ts', "import { assert } from '../assert.ts'\nimport { x } from './x.ts'"],
      [
        'src/engine/db.ts',
        "// import 'node:fs'\n/* from 'node:fs' */ const a = \"from 'node:fs'\"",
      ],
      ['src/engine/db.ts', "const text = `import('node:fs') ${a} from 'node:fs'`"],
      ['src/engine/node-file-system.ts', "import 'node:fs'"],
      ['src/engine/job-worker.ts', "import 'node:worker_threads'"],
      ['src/cli/main.ts', "import { x } from '../cluster/index.ts'\nimport 'commander'"],
      ['src/cli/kvd.cts', "import('./serve.js')"],
      [
        'src/level-base.ts',
        "import 'abstract-level'\nimport './level-key.ts'\nimport './bytes.ts'",
      ],
      ['src/level-reader.ts', "import type { Db } from './engine/index.ts'"],
      ['src/net/http/server.ts', "import { x } from '../limits.ts'\nimport 'node:http'"],
      ['src/index.ts', "export { open } from './engine/index.ts'\nexport * from './errors.ts'"],
      ['src/engine/x.ts', 'const half = (a + b) / 2 // import "node:fs"\nconst c = d / e'],
      ['test/engine/x.test.ts', "import 'node:fs'"],
    ]
    for (const [path, text] of allowed) assert.deepEqual(violations([sourceText(path, text)]), [])
  })
})
