// Goal: connections never take the descriptors that the engine needs, and whoever wishes for more
// connections learns which limit would do.
// Method: limits around the bounds; texts as Linux has them.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connectionRoom, softFileLimit } from '../../src/cli/file-limit.ts'
import { DEFAULT_PEER_LIMITS } from '../../src/cluster/peer-limits.ts'
import { OPEN_FILES_MAX_DEFAULT } from '../../src/engine/index.ts'
import { refusedConnectionsMax } from '../../src/net/index.ts'

const THREADS = 2

test('a limit that is high enough, or none, changes nothing', () => {
  const { connections, filesNeeded } = connectionRoom(10_000, THREADS, undefined)
  assert.equal(connections, 10_000)
  assert.equal(connectionRoom(10_000, THREADS, filesNeeded).connections, 10_000)
  assert.ok(connectionRoom(10_000, THREADS, filesNeeded - 1).connections < 10_000)
  assert.ok(filesNeeded >= 10_000 + OPEN_FILES_MAX_DEFAULT)
})

test('below it there is room for all tables, for threads, and for those who are turned away', () => {
  for (let limit = 1024; limit < 12_000; limit += 97) {
    const { connections } = connectionRoom(10_000, THREADS, limit)
    const taken = connections + refusedConnectionsMax(connections)
    assert.ok(connections >= 100, `${connections} of ${limit}`)
    assert.ok(limit - taken >= OPEN_FILES_MAX_DEFAULT + 80, `${connections} of ${limit}`)
  }
  assert.equal(connectionRoom(20, THREADS, 1024).connections, 20)
})

test('a node that is linked with others keeps some for its links', () => {
  const alone = connectionRoom(10_000, THREADS, 2048)
  const linked = connectionRoom(10_000, THREADS, 2048, true)
  const taken = linked.connections + refusedConnectionsMax(linked.connections)
  assert.ok(2048 - taken >= OPEN_FILES_MAX_DEFAULT + 80 + DEFAULT_PEER_LIMITS.strangersMax + 6)
  assert.ok(linked.connections < alone.connections)
  assert.ok(linked.filesNeeded > alone.filesNeeded)
})

test('a tiny limit leaves most of it to files', () => {
  for (const limit of [1, 16, 64, 256, 700]) {
    const { connections } = connectionRoom(10_000, THREADS, limit)
    assert.ok(connections >= 1 && connections <= Math.max(1, limit / 4), `${connections}`)
  }
})

test('the soft limit is read from what Linux tells', () => {
  const text = (soft: string): string =>
    'Limit                     Soft Limit           Hard Limit           Units     \n' +
    'Max processes             63432                63432                processes \n' +
    `Max open files            ${soft.padEnd(20)} 1048576              files     \n` +
    'Max locked memory         8388608              8388608              bytes     \n'
  assert.equal(softFileLimit(text('1024')), 1024)
  assert.equal(softFileLimit(text('unlimited')), undefined)
  assert.equal(softFileLimit(''), undefined)
})
