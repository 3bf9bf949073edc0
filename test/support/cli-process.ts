/**
 * kvd and kvcli as processes of their own, compiled as they are published: each starts in a fifth
 * of the time that it takes from the sources.
 */
import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process'
import { copyFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Cleanup, temporaryDirectory } from './temp-directory.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
/** Types are the check's business, not that of these tests. */
const COMPILER_OPTIONS = [
  ...['-p', join(ROOT, 'tsconfig.build.json'), '--noCheck'],
  ...['--declaration', 'false', '--declarationMap', 'false', '--sourceMap', 'false'],
]

export interface ProcessEnd {
  /** Undefined when a signal ended it. */
  readonly code: number | undefined
  readonly stdout: Buffer
  readonly stderr: string
}

export class CliProcess {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #stdout: Buffer[] = []
  #stderr = ''
  readonly ended: Promise<ProcessEnd>

  constructor(args: readonly string[], directory: string, program = process.execPath) {
    this.#child = spawn(program, args, {
      cwd: directory,
      env: { ...process.env, NO_COLOR: '1' },
    })
    this.#child.stdout.on('data', (chunk: Buffer) => this.#stdout.push(chunk))
    this.#child.stderr.on('data', (chunk: Buffer) => {
      this.#stderr += chunk.toString()
    })
    // A program that ends early leaves a broken pipe; its exit code says more.
    this.#child.stdin.on('error', () => undefined)
    this.ended = new Promise((resolve, reject) => {
      this.#child.once('error', reject)
      this.#child.once('close', code => {
        const stdout = Buffer.concat(this.#stdout)
        resolve({ code: code ?? undefined, stdout, stderr: this.#stderr })
      })
    })
  }

  /** More of its standard input. */
  write(text: string | Uint8Array): void {
    this.#child.stdin.write(text)
  }

  /** The end of its standard input. */
  end(text: string | Uint8Array = ''): void {
    this.#child.stdin.end(text)
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  /** Resolves with what matches in its errors; rejects when it ends without. */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.#stderr)
      if (match !== null) return match
      await Promise.race([
        new Promise(resolve => this.#child.stderr.once('data', resolve)),
        this.ended.then(({ code, stderr }) => {
          throw new Error(`it ended with ${code} before it said ${pattern.source}: ${stderr}`)
        }),
      ])
    }
  }
}

/** A node on a directory. */
export class KvdServer {
  readonly #process: CliProcess
  readonly port: number

  constructor(program: CliProcess, port: number) {
    this.#process = program
    this.port = port
  }

  get url(): string {
    return `kv://127.0.0.1:${this.port}`
  }

  async kill(): Promise<void> {
    this.#process.signal('SIGKILL')
    await this.#process.ended
  }

  async stop(): Promise<ProcessEnd> {
    this.#process.signal('SIGTERM')
    return await this.#process.ended
  }
}

export class CliPrograms {
  /** Of the compiled programs. */
  readonly #directory: string

  private constructor(directory: string) {
    this.#directory = directory
  }

  /** Compiles them into a directory that goes away with the test or suite. */
  static build(cleanup: Cleanup): CliPrograms {
    const root = temporaryDirectory(cleanup)
    copyFileSync(join(ROOT, 'package.json'), join(root, 'package.json'))
    symlinkSync(join(ROOT, 'node_modules'), join(root, 'node_modules'), 'junction')
    const compiler = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc')
    const options = [...COMPILER_OPTIONS, '--outDir', join(root, 'dist')]
    execFileSync(process.execPath, [compiler, ...options], { stdio: 'inherit' })
    return new CliPrograms(join(root, 'dist', 'cli'))
  }

  start(program: 'kvd' | 'kvcli', args: readonly string[], directory: string): CliProcess {
    return new CliProcess([join(this.#directory, `${program}.cjs`), ...args], directory)
  }

  /** Runs kvcli to its end. */
  run(
    args: readonly string[],
    directory: string,
    stdin: string | Uint8Array = '',
  ): Promise<ProcessEnd> {
    const program = this.start('kvcli', args, directory)
    program.end(stdin)
    return program.ended
  }

  /** Runs it to its end where so few files may be open at a time. */
  runWithFiles(program: 'kvd' | 'kvcli', files: number): Promise<ProcessEnd> {
    const path = join(this.#directory, `${program}.cjs`)
    const script = `ulimit -n ${files} && exec "$0" "$1" --version`
    return new CliProcess(['-c', script, process.execPath, path], this.#directory, 'sh').ended
  }

  /** Starts kvd; on any free port unless one is given. */
  async serve(directory: string, port = 0): Promise<KvdServer> {
    const args = ['serve', '--dir', directory, '--port', String(port), '--json-logs']
    const program = this.start('kvd', args, directory)
    const [, found] = await program.says(/"serving","address":"127\.0\.0\.1:(\d+)"/)
    return new KvdServer(program, Number(found))
  }
}
