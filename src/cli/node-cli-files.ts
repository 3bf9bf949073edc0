/** CliFiles over node:fs: the files that import, export and the history read and write. */
import { createReadStream, type Stats } from 'node:fs'
import {
  type FileHandle,
  mkdir,
  open,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises'
import { dirname } from 'node:path'
import { pipeline, type Readable, Writable } from 'node:stream'
import { createGunzip, createGzip } from 'node:zlib'
import { assert } from '../assert.ts'
import { IoError, type KvError, NotFoundError } from '../errors.ts'
import type { AppendOptions, CliFiles, InputSource, OutputTarget } from './cli-io.ts'
import { skipBytes } from './input-source.ts'
import { isGzipName } from './record-format.ts'
import { RefusedError } from './refused-error.ts'

/** Read ahead in pieces that parse in about a millisecond. */
const READ_SIZE = 256 * 1024
/** Only the user reads history and progress files. */
const PRIVATE_MODE = 0o600

export function nodeCliFiles(): CliFiles {
  return { openInput, createOutput, readBytes, readText, writeText, append, list, remove }
}

async function openInput(path: string, offset: number): Promise<InputSource> {
  const zipped = isGzipName(path)
  const handle = await attempt('open', path, () => open(path, 'r'))
  const status = await attempt('open', path, () => handle.stat())
  if (status.isDirectory()) {
    await handle.close()
    throw new IoError(`cannot read ${path}: it is a directory`)
  }
  // A pipe has no positions: not even 0 may be asked for.
  const start = status.isFile() && !zipped ? offset : 0
  const position = start > 0 ? { start } : {}
  const file = createReadStream(path, { fd: handle, ...position, highWaterMark: READ_SIZE })
  const gunzip = zipped ? createGunzip({ chunkSize: READ_SIZE }) : undefined
  const stream: Readable = gunzip === undefined ? file : pipeline(file, gunzip, ignoreOutcome)
  const taken = (): number => gunzip?.bytesWritten ?? file.bytesRead
  return {
    // A pipe or device has no size that could be reached.
    size: status.isFile() ? status.size : undefined,
    modifiedMs: status.isFile() ? status.mtimeMs : undefined,
    chunks: skipBytes(readFrom(stream, path, taken), offset - start, path),
    consumed: () => start + file.bytesRead,
    close: () => {
      stream.destroy()
      file.destroy()
    },
  }
}

/** The stream's own errors reach its reader; the pipeline's callback has nothing to add. */
function ignoreOutcome(): void {}

async function* readFrom(
  stream: Readable,
  path: string,
  taken: () => number,
): AsyncGenerator<Uint8Array, void, undefined> {
  let given = 0
  try {
    for await (const chunk of stream) {
      assert(chunk instanceof Uint8Array, 'a file is read as bytes')
      given += chunk.length
      yield chunk
    }
  } catch (error) {
    const isGzip = codeOf(error)?.startsWith('Z_') === true
    const place = ` (behind byte ${taken()}; ${given} bytes came out of it before)`
    throw ioError('read', path, error, isGzip ? place : '')
  }
}

async function createOutput(
  path: string,
  { replace = false }: { readonly replace?: boolean } = {},
): Promise<OutputTarget> {
  const status = await statusOf(path)
  if (status?.isFile() === true && !replace) {
    const advice = 'add --force to replace it, or name another file'
    throw new RefusedError(`${path} exists already`, { advice })
  }
  // A link stays a link: what it leads to is replaced.
  const target = status === undefined ? path : await attempt('open', path, () => realpath(path))
  const written = status === undefined || status.isFile() ? `${target}.partial` : target
  const handle = await attempt('create', written, () => open(written, 'w'))
  return new FileTarget(target, written, handle)
}

async function statusOf(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw ioError('open', path, error)
  }
}

class FileTarget implements OutputTarget {
  readonly #path: string
  /** What is written to: `path` itself when it is no file. */
  readonly #partial: string
  readonly #handle: FileHandle
  readonly #stream: Writable
  #error: Error | undefined
  #over = false

  constructor(path: string, partial: string, handle: FileHandle) {
    this.#path = path
    this.#partial = partial
    this.#handle = handle
    const sink = new Writable({
      highWaterMark: READ_SIZE,
      write: (chunk: Uint8Array, _encoding, done) => {
        writeAll(handle, chunk).then(() => done(), done)
      },
    })
    this.#stream = isGzipName(path) ? createGzip() : sink
    if (this.#stream === sink) {
      sink.on('error', error => this.#fail(error))
    } else {
      pipeline([this.#stream, sink], error => {
        if (error) this.#fail(error)
      })
    }
    this.#finished = new Promise(resolve => {
      sink.on('close', resolve)
    })
  }

  readonly #finished: Promise<void>

  #fail(error: Error): void {
    this.#error ??= ioError('write', this.#partial, error)
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (this.#error !== undefined) throw this.#error
    if (this.#stream.write(bytes)) return
    await new Promise<void>(resolve => {
      const goOn = (): void => {
        this.#stream.off('drain', goOn)
        this.#stream.off('close', goOn)
        resolve()
      }
      this.#stream.on('drain', goOn)
      this.#stream.on('close', goOn)
    })
    if (this.#error !== undefined) throw this.#error
  }

  async finish(): Promise<void> {
    this.#stream.end()
    await this.#finished
    if (this.#error !== undefined) throw this.#error
    if (this.#isNamed) {
      await this.#handle.close()
    } else {
      await attempt('write', this.#partial, () => this.#handle.sync())
      await this.#handle.close()
      await attempt('rename', this.#partial, () => rename(this.#partial, this.#path))
    }
    this.#over = true
  }

  get #isNamed(): boolean {
    return this.#partial === this.#path
  }

  async discard(): Promise<void> {
    if (this.#over) return
    this.#over = true
    this.#stream.destroy()
    await this.#handle.close()
    if (!this.#isNamed) await rm(this.#partial, { force: true })
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  let at = 0
  while (at < bytes.length) {
    const { bytesWritten } = await handle.write(bytes, at)
    at += bytesWritten
  }
}

async function readBytes(path: string): Promise<Uint8Array> {
  return await attempt('read', path, () => readFile(path))
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw ioError('read', path, error)
  }
}

async function writeText(path: string, text: string): Promise<void> {
  const temporary = `${path}.tmp`
  await attempt('write', path, async () => {
    await mkdir(dirname(path), { recursive: true })
    await writeFile(temporary, text, { mode: PRIVATE_MODE })
    await rename(temporary, path)
  })
}

async function append(
  path: string,
  content: string | Uint8Array,
  { replace = false, head }: AppendOptions = {},
): Promise<void> {
  await attempt('write', path, async () => {
    await mkdir(dirname(path), { recursive: true })
    const handle = await open(path, replace ? 'w' : 'a', PRIVATE_MODE)
    try {
      const bytes = typeof content === 'string' ? Buffer.from(content) : content
      const isEmpty = head !== undefined && (await handle.stat()).size === 0
      await writeAll(handle, isEmpty ? Buffer.concat([head, bytes]) : bytes)
    } finally {
      await handle.close()
    }
  })
}

async function list(directory: string): Promise<readonly string[]> {
  try {
    const entries = await readdir(directory, { withFileTypes: true })
    return entries.map(entry => (entry.isDirectory() ? `${entry.name}/` : entry.name)).sort()
  } catch (error) {
    const code = codeOf(error)
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EACCES') return []
    throw ioError('list', directory, error)
  }
}

async function remove(path: string): Promise<void> {
  await attempt('remove', path, () => rm(path, { force: true }))
}

async function attempt<T>(verb: string, path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action()
  } catch (error) {
    throw ioError(verb, path, error)
  }
}

/** `place` says where in the file. */
function ioError(verb: string, path: string, error: unknown, place = ''): KvError {
  const code = codeOf(error)
  const reason = code === undefined ? String(error) : (REASONS[code] ?? messageOf(error))
  const message = `cannot ${verb} ${path}: ${reason}${place}`
  const Kind = code === 'ENOENT' ? NotFoundError : IoError
  return new Kind(message, { cause: error })
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or directory',
  ENOTDIR: 'a part of the path is no directory',
  EACCES: 'permission denied',
  EISDIR: 'it is a directory',
  ENOSPC: 'no space is left on the device',
  EROFS: 'the file system is read-only',
  Z_DATA_ERROR: 'it is not valid gzip data',
  Z_BUF_ERROR: 'the gzip data ends too early',
}

function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
