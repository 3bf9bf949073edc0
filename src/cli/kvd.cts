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
void import('./kvd-main.ts').then(({ main }) => main())
