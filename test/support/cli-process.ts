/** kvd and kvcli as processes of their own. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { programArguments, ROOT } from './project-root.ts'

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

export function startProgram(
  program: 'kvd' | 'kvcli',
  args: readonly string[],
  directory: string,
): CliProcess {
  return new CliProcess([...programArguments(program), ...args], directory)
}

/** Runs kvcli to its end. */
export function runKvcli(
  args: readonly string[],
  directory: string,
  stdin: string | Uint8Array = '',
): Promise<ProcessEnd> {
  const program = startProgram('kvcli', args, directory)
  program.end(stdin)
  return program.ended
}

/** Runs it to its end where so few files may be open at a time; compiled, as it is published. */
export function runWithFiles(program: 'kvd' | 'kvcli', files: number): Promise<ProcessEnd> {
  const script = `ulimit -n ${files} && exec "$0" "$1" --version`
  const [path = ''] = programArguments(program).slice(-1)
  return new CliProcess(['-c', script, process.execPath, path], ROOT, 'sh').ended
}

/** Starts kvd; on any free port unless one is given. */
export async function startKvd(directory: string, port = 0): Promise<KvdServer> {
  const args = ['serve', '--dir', directory, '--port', String(port), '--json-logs']
  const program = startProgram('kvd', args, directory)
  const [, found] = await program.says(/"serving","address":"127\.0\.0\.1:(\d+)"/)
  return new KvdServer(program, Number(found))
}
