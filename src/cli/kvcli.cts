#!/usr/bin/env node
/**
 * Bin of `kvcli`. CommonJS, because the size of libuv's thread pool is read when the pool is first
 * used, and an ES module's imports run before its first line could set it. Files, gzip and the
 * look-up of host names share the pool.
 */
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write(`kvcli: needs Node.js 20.19 or newer; this is ${process.version}\n`)
  process.exit(1)
}
process.env['UV_THREADPOOL_SIZE'] ??= '8'
void import('./kvcli-main.ts').then(({ main }) => main())
