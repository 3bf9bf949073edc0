/**
 * `npm run test:package`: what a user gets. Packs the project, installs the tarball into an empty
 * project, runs both programs, imports every entry, type-checks the README's examples against the
 * published types and runs those that need no server.
 *
 * Fails at the first thing that is wrong. Uses no network but npm's registry.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ROOT } from './project-root.ts'

const ON_WINDOWS = process.platform === 'win32'

interface Manifest {
  readonly name: string
  readonly version: string
  readonly bin: Readonly<Record<string, string>>
  readonly exports: Readonly<Record<string, unknown>>
  readonly dependencies?: Readonly<Record<string, string>>
  readonly peerDependencies: Readonly<Record<string, string>>
  readonly scripts?: Readonly<Record<string, string>>
}

function step(title: string): void {
  process.stdout.write(`- ${title}\n`)
}

function require(condition: boolean, failure: string): void {
  if (!condition) throw new Error(failure)
}

/** Runs a program to its end and returns what it printed; its errors go to the terminal. */
function run(program: string, args: readonly string[], directory: string): string {
  return execFileSync(program, args, {
    cwd: directory,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    shell: ON_WINDOWS,
    maxBuffer: 64 * 1024 * 1024,
  })
}

function readManifest(directory: string): Manifest {
  return JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as Manifest
}

/** Packs into `directory` and returns the tarball's path. */
function pack(directory: string): string {
  run('npm', ['pack', '--silent', '--pack-destination', directory], ROOT)
  const [name, ...others] = readdirSync(directory).filter(file => file.endsWith('.tgz'))
  require(name !== undefined && others.length === 0, 'npm pack made one tarball')
  return join(directory, name as string)
}

function checkContent(installed: string): void {
  const files = readdirSync(installed, { recursive: true, encoding: 'utf8' })
  for (const file of ['README.md', 'LICENSE', 'CHANGELOG.md', 'dist/index.js', 'dist/index.d.ts']) {
    require(files.includes(join(file)), `the package lacks ${file}`)
  }
  const stray = files.find(file => /(?:^|[\\/])(?:test|bench|\.ci)(?:[\\/]|$)|\.env/.test(file))
  require(stray === undefined, `the package contains ${stray}`)
}

/** What npm would run or compile on a user's machine: nothing. */
function checkInstallScripts(modules: string): void {
  const names = readdirSync(modules).flatMap(name => {
    if (name.startsWith('.')) return []
    return name.startsWith('@')
      ? readdirSync(join(modules, name)).map(inner => join(name, inner))
      : [name]
  })
  for (const name of names) {
    const { scripts = {} } = readManifest(join(modules, name))
    for (const script of ['preinstall', 'install', 'postinstall']) {
      require(scripts[script] === undefined, `${name} runs an ${script} script`)
    }
    const files = readdirSync(join(modules, name), { recursive: true, encoding: 'utf8' })
    require(!files.some(file => /binding\.gyp$|\.node$/.test(file)), `${name} holds native code`)
  }
}

function checkPrograms(project: string, manifest: Manifest): void {
  for (const program of Object.keys(manifest.bin)) {
    const path = join(project, 'node_modules', '.bin', program)
    const printed = run(path, ['--version'], project).trim()
    step(`${program} --version: ${printed}`)
    require(printed.includes(manifest.version), `${program} knows its version`)
  }
}

/** The entry that stands on an optional peer dependency. */
const PEER_ENTRY = './level'

/** Needs a thread of the engine. */
const INLINE_PROGRAM = `const { open } = await import('duramen')
const db = await open('./inline')
const { ok } = await db.verify()
await db.close()
if (!ok) throw new Error('damaged')`

function checkEntries(project: string, manifest: Manifest, entries: readonly string[]): void {
  const lines = entries.map(entry => {
    const specifier = JSON.stringify(join(manifest.name, entry).split('\\').join('/'))
    return `const names = Object.keys(await import(${specifier}))
if (names.length === 0 || names.includes('default')) throw new Error(${specifier} + ': ' + names)`
  })
  const blocks = lines.map(text => `{\n${text}\n}`).join('\n')
  writeFileSync(join(project, 'entries.js'), blocks)
  run(process.execPath, ['entries.js'], project)
  step(`imported ${entries.join(' ')}`)
  // Windows quotes programs in the command line in its own way.
  if (ON_WINDOWS) return
  run(process.execPath, ['--input-type=module', '-e', INLINE_PROGRAM], project)
  step('opened a database in a program of the command line')
}

/** The README's TypeScript that imports the package, a file an example. */
function writeExamples(project: string, name: string): string[] {
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8')
  const blocks = [...readme.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map(match => match[1]!)
  const examples = blocks.filter(text => text.includes(`from '${name}`))
  require(examples.length > 0, 'README has an example')
  mkdirSync(join(project, 'examples'))
  return examples.map((text, index) => {
    const file = `example-${index + 1}.ts`
    writeFileSync(join(project, 'examples', file), text)
    return file
  })
}

function checkExamples(project: string, name: string): void {
  const files = writeExamples(project, name)
  const compilerOptions = {
    target: 'es2022',
    lib: ['es2023', 'esnext.disposable'],
    module: 'nodenext',
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
    types: ['node'],
    typeRoots: [join(ROOT, 'node_modules', '@types')],
    outDir: 'built',
    rootDir: 'examples',
  }
  const config = { compilerOptions, include: ['examples'] }
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify(config))
  const compiler = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc')
  run(process.execPath, [compiler, '-p', project], project)
  step(`type-checked ${files.length} examples of the README`)
  for (const file of files) {
    if (readFileSync(join(project, 'examples', file), 'utf8').includes("open('kv://")) continue
    run(process.execPath, [join('built', file.replace(/ts$/, 'js'))], project)
    step(`ran ${file}`)
  }
}

function checkPackage(directory: string): void {
  const manifest = readManifest(ROOT)
  const tarball = pack(directory)
  step(`packed ${manifest.name} ${manifest.version}`)
  const project = join(directory, 'project')
  mkdirSync(project)
  writeFileSync(join(project, 'package.json'), '{"private":true,"type":"module"}')
  run('npm', ['install', '--silent', '--no-audit', '--no-fund', tarball], project)
  const modules = join(project, 'node_modules')
  checkContent(join(modules, manifest.name))
  checkInstallScripts(modules)
  step('installed; nothing was compiled')
  checkPrograms(project, manifest)
  const entries = Object.keys(manifest.exports).filter(entry => !entry.endsWith('.json'))
  require(entries.includes(PEER_ENTRY), `there is ${PEER_ENTRY}`)
  const peers = Object.entries(manifest.peerDependencies)
  for (const [peer] of peers) {
    require(!readdirSync(modules).includes(peer), `${peer} comes only with those who ask for it`)
  }
  checkEntries(
    project,
    manifest,
    entries.filter(entry => entry !== PEER_ENTRY),
  )
  const specifications = peers.map(([peer, range]) => `${peer}@${range}`)
  run('npm', ['install', '--silent', '--no-audit', '--no-fund', ...specifications], project)
  checkInstallScripts(modules)
  checkEntries(project, manifest, [PEER_ENTRY])
  checkExamples(project, manifest.name)
}

const directory = mkdtempSync(join(tmpdir(), 'duramen-package-'))
try {
  checkPackage(directory)
} finally {
  rmSync(directory, { recursive: true, force: true })
}
