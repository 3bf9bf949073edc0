// Goal: PROTOCOL.md tells the truth, byte by byte.
// Method: the bytes in its tables are built by the code, and looked up in the text.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8Encode } from '../../src/bytes.ts'
import { type DutyRun, encodeDuties } from '../../src/cluster/duty-format.ts'
import { dirtyKey, HINTED_KEY_SIZE_MAX, hintKey } from '../../src/cluster/hint-format.ts'
import {
  LEASE_MS,
  SKEW_AHEAD_MAX_MS,
  SKEW_BEHIND_MAX_MS,
} from '../../src/cluster/hybrid-logical-clock.ts'
import { NodeKey, Partitioner, USER_KEY_SIZE_MAX } from '../../src/cluster/partition.ts'
import { TOMBSTONE_RETENTION_MS } from '../../src/cluster/partitioned-store.ts'
import { encodeAnswer, encodeEntries } from '../../src/cluster/replica-message.ts'
import { initRing } from '../../src/cluster/ring-change.ts'
import { newMember } from '../../src/cluster/ring-member.ts'
import { memberTokens } from '../../src/cluster/token-ring.ts'
import { TOKEN_SALTS_TRIED } from '../../src/cluster/token-salt.ts'
import { UnorderedScan } from '../../src/cluster/unordered-scan.ts'
import { encodeTombstone, encodeValue } from '../../src/cluster/versioned-value.ts'
import { seededRandom } from '../../src/random.ts'
import { encodeVersion } from '../../src/write-version.ts'
import { startFakeNode } from '../support/fake-node.ts'
import { readProjectFile } from '../support/project-files.ts'
import { randomMember } from '../support/random-ring.ts'

const text = readProjectFile('src/cluster/PROTOCOL.md')
const HELLO = utf8Encode('hello')

/** The last cell of the row that begins with `cells`, without spaces and code marks. */
function lastCell(...cells: string[]): string {
  const rows = text.split('\n').map(line => line.split(/(?<!\\)\|/).map(cell => cell.trim()))
  const row = rows.find(([, ...rest]) => cells.every((cell, index) => rest[index] === cell))
  assert.ok(row !== undefined, `the page has a row ${cells.join(' | ')}`)
  return row.at(-2)!.replaceAll(/[` ]/g, '')
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

test('engine keys are as documented', () => {
  for (const [count, name] of [
    [1024, '1024'],
    [65_536, '65,536'],
    [1, '1'],
  ] as const) {
    assert.equal(hex(new Partitioner(count).engineKey(HELLO)), lastCell('`hello`', name))
  }
  assert.ok(text.includes(`[1..${USER_KEY_SIZE_MAX.toLocaleString('en')}]`))
})

test('stored forms are as documented', () => {
  const writer = Uint8Array.of(0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8)
  const version = encodeVersion(0x0123_4567_89ab, 0xcdef, writer)
  const value = utf8Encode('hi')
  const until = encodeValue(version, value, 0x0123_4567_ffff)
  assert.equal(hex(encodeValue(version, value, 0)), lastCell('value `hi`'))
  assert.equal(hex(until), lastCell('value `hi` until 0x01234567ffff'))
  assert.equal(hex(encodeTombstone(version)), lastCell('tombstone'))
})

test('every record of the node is documented', () => {
  for (const name of Object.values(NodeKey)) lastCell(`\`${hex(Uint8Array.of(name))}\``)
})

test('duties, hints and messages about writes are as documented', () => {
  const duties = (runs: readonly DutyRun[]) => hex(encodeDuties({ epoch: 9, runs }))
  assert.equal(
    duties([{ count: 1, peers: [0, 258] }]),
    lastCell('one operation, owed to peers 0 and 258, in epoch 9'),
  )
  assert.equal(
    duties([
      { count: 2, peers: [1] },
      { count: 300, peers: [] },
      { count: 1, peers: [0, 1] },
    ]),
    lastCell('two operations owed to peer 1, 300 to nobody, one to both'),
  )
  const engineKey = new Partitioner(1024).engineKey(HELLO)
  assert.equal(hex(hintKey(258, engineKey)), lastCell('peer 258 is owed `hello` (of 1024)'))
  assert.equal(hex(dirtyKey(258, 0x03ec)), lastCell('peer 258 may lack partition 0x03ec'))
  assert.ok(text.includes(`${HINTED_KEY_SIZE_MAX.toLocaleString('en')} bytes`))
  const writer = Uint8Array.of(0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8)
  const stored = encodeTombstone(encodeVersion(0x0123_4567_89ab, 0xcdef, writer))
  assert.equal(
    hex(encodeEntries({ epoch: 9, entries: [{ engineKey, stored }] })),
    lastCell('epoch 9: `hello` (of 1024) was deleted by the version above'),
  )
  assert.equal(
    hex(encodeAnswer({ status: 1, epoch: 9, pauseMs: 500, refused: [2] })),
    lastCell('applied, in epoch 9, all but entry 2, no hints for 500 ms'),
  )
})

test('times are as documented', () => {
  const times = [SKEW_AHEAD_MAX_MS, SKEW_BEHIND_MAX_MS, TOMBSTONE_RETENTION_MS, LEASE_MS]
  for (const ms of [...times, LEASE_MS + SKEW_AHEAD_MAX_MS]) {
    assert.ok(text.includes(` ${ms.toLocaleString('en')} ms`), `${ms} ms`)
  }
})

test('tokens are as documented', () => {
  const tokenId = '00112233445566778899aabbccddeeff'
  const member = newMember(
    { nodeId: tokenId, clientAddress: '', peerAddress: '' },
    'normal',
    0x0102,
  )
  assert.equal(memberTokens(member, 4).join(), lastCell(`\`${tokenId}\``, '0x0102'))
  assert.ok(text.includes(`salts 0 to ${TOKEN_SALTS_TRIED - 1}`))
  const ring = initRing(randomMember(seededRandom(1)), { clusterId: tokenId, partitionCount: 1 })
  assert.ok(text.includes(`replication factor\n(default ${ring.replicationFactor})`))
  assert.ok(text.includes(`(default ${ring.virtualNodes}).`))
})

test('cursors are as documented', async () => {
  const { store } = await startFakeNode({ partitionCount: 1024 })
  const terms = { durability: undefined, version: undefined }
  const names = Array.from({ length: 20 }, (_, index) => utf8Encode(`k${index}`))
  for (const key of [HELLO, ...names]) await store.put(key, HELLO, 0, terms)
  const scan = new UnorderedScan(store, { reverse: false, keysOnly: true, cursor: undefined })
  let page = await scan.next(1, 1)
  while (hex(page.keys[0]!) !== hex(HELLO)) page = await scan.next(1, 1)
  scan.close()
  assert.ok(page.cursor !== undefined && hex(page.cursor) === '010a68656c6c6f')
  assert.ok(text.includes('`01 0a 68656c6c6f`'))
})
