#!/usr/bin/env node
/**
 * Bin of `kvd`. CommonJS, because the size of libuv's thread pool is read when the pool is first
 * used, and an ES module's imports run before its first line could set it. Reads that miss the
 * cache and fsyncs take a thread each; the default of four is a bottleneck.
 */
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write(`kvd: needs Node.js 20.19 or newer; this is ${process.version}\n`)
  process.exit(1)
}
process.env['UV_THREADPOOL_SIZE'] ??= '16'
import('./kvd-main.ts').then(({ main }) => main(), notLoaded)

/** Each module is a file: where so few may be open, the code that would say so is missing, too. */
function notLoaded(error: unknown): void {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code !== 'EMFILE' && code !== 'ENFILE') throw error
  process.stderr.write(
    `kvd: too many files are open to load the program [${code}]\n` +
      "  -> raise the limit of open files, as with 'ulimit -n 4096', and start it again\n",
  )
  process.exit(1)
}
