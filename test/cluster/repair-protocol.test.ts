// Goal: what PROTOCOL.md shows of reads, scans, comparisons and purges between members is what they
// send, byte by byte; what is none of it is refused as the peer's fault.
// Method: messages are built by the code and looked up in the tables of the page; then each of them
// cut short, and decoded.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { utf8Encode } from '../../src/bytes.ts'
import { Partitioner } from '../../src/cluster/partition.ts'
import { PartitionSet } from '../../src/cluster/partition-set.ts'
import { PartitionTree } from '../../src/cluster/partition-tree.ts'
import { decodePurge, encodePurge, PurgeStep } from '../../src/cluster/purge-messages.ts'
import {
  decodeDigests,
  decodeForms,
  decodeForwarded,
  decodeKeys,
  decodeMarkedKeys,
  decodeRepair,
  digestOfStored,
  encodeDigests,
  encodeForms,
  encodeForwarded,
  encodeKeys,
  encodeMarkedKeys,
  encodeRepair,
} from '../../src/cluster/read-messages.ts'
import {
  decodeCompared,
  decodeKeyDigests,
  decodePush,
  decodeRoots,
  decodeVerdicts,
  encodeCompared,
  encodeKeyDigests,
  encodePush,
  encodeRoots,
  encodeVerdicts,
  Verdict,
} from '../../src/cluster/repair-messages.ts'
import {
  decodeCount,
  decodeNext,
  decodeOpen,
  decodeOpened,
  encodeCount,
  encodeNext,
  encodeOpen,
  encodePage,
} from '../../src/cluster/scan-messages.ts'
import { encodeTombstone } from '../../src/cluster/versioned-value.ts'
import { ProtocolError } from '../../src/errors.ts'
import { encodeVersion } from '../../src/write-version.ts'
import { readProjectFile } from '../support/project-files.ts'

const text = readProjectFile('src/cluster/PROTOCOL.md')
const PARTITIONER = new Partitioner(1024)
const HELLO = utf8Encode('hello')
const WRITER = Uint8Array.of(0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8)
const VERSION = encodeVersion(0x0123_4567_89ab, 0xcdef, WRITER)
const STORED = encodeTombstone(VERSION)
const DIGEST = digestOfStored(STORED)
const ENTRY = { engineKey: PARTITIONER.engineKey(HELLO), stored: STORED }
const HEAD = { epoch: 9, partition: 0x03ec, markMs: 5 }
const eight = new PartitionSet(8)
eight.add(0)
eight.add(7)

interface Example {
  readonly bytes: Uint8Array
  readonly decode: (bytes: Uint8Array) => unknown
}

const RANGE = { gt: HELLO }
const REQUEST = { ...RANGE, reverse: true, keysOnly: true, cursor: undefined }
const SIZE = { entriesMax: 10, bytesMax: 256 }

/** By what the page says of them. */
const EXAMPLES: Readonly<Record<string, Example>> = {
  'epoch 9, key `hello`': {
    bytes: encodeKeys({ epoch: 9, keys: [HELLO] }),
    decode: decodeKeys,
  },
  'epoch 9, key `hello`, mark 5': {
    bytes: encodeMarkedKeys({ epoch: 9, keys: [HELLO], marksMs: [5] }),
    decode: decodeMarkedKeys,
  },
  'mark 5 of each: absent, the tombstone above, damaged': {
    bytes: encodeDigests([
      { state: 'absent', markMs: 5 },
      { ...DIGEST, markMs: 5 },
      { state: 'damaged', markMs: 5 },
    ]),
    decode: bytes => decodeDigests(bytes, 3),
  },
  'absent, and the tombstone above': {
    bytes: encodeForms([{ state: 'absent' }, { state: 'found', stored: STORED }]),
    decode: bytes => decodeForms(bytes, 2),
  },
  'epoch 9, `hello` at quorum, 1 KiB, not less than the version above': {
    bytes: encodeForwarded({
      ...{ epoch: 9, keys: [HELLO], consistency: 'quorum', bytesMax: 1024, least: [VERSION] },
    }),
    decode: decodeForwarded,
  },
  'epoch 9, mark 5, `hello` has the tombstone above': {
    bytes: encodeRepair({ epoch: 9, markMs: 5, entries: [ENTRY] }),
    decode: bytes => decodeRepair(bytes, PARTITIONER),
  },
  'epoch 9, keys behind `hello` in reverse, partitions 0 and 7 of 8, 10 entries or 256 bytes': {
    bytes: encodeOpen({
      ...{ epoch: 9, isUnordered: false, request: REQUEST, partitions: eight, ...SIZE },
    }),
    decode: bytes => decodeOpen(bytes, 8),
  },
  'scan 2, 10 entries or 256 bytes': {
    bytes: encodeNext({ id: 2, ...SIZE }),
    decode: decodeNext,
  },
  'scan 2, its last page: `hello` is `hello`': {
    bytes: encodePage({ keys: [HELLO], values: [HELLO], cursor: undefined, done: true }, 2),
    decode: decodeOpened,
  },
  'epoch 9, all keys behind `hello` in partitions 0 and 7 of 8': {
    bytes: encodeCount({ epoch: 9, range: RANGE, partitions: eight }),
    decode: bytes => decodeCount(bytes, 8),
  },
  'epoch 9, partition 0x03ec, mark 5, of an empty tree': {
    bytes: encodeRoots(9, [{ partition: 0x03ec, markMs: 5, root: new PartitionTree().root }]),
    decode: decodeRoots,
  },
  'different, mark 5': {
    bytes: encodeVerdicts([{ verdict: Verdict.differs, markMs: 5 }]),
    decode: bytes => decodeVerdicts(bytes, 1),
  },
  'epoch 9, partition 0x03ec, mark 5, no leaf, up to `hello`: the tombstone above': {
    bytes: encodeKeyDigests({
      ...HEAD,
      leaves: new Uint8Array(32),
      after: undefined,
      upTo: HELLO,
      digests: [{ userKey: HELLO, version: VERSION, hash: DIGEST.hash }],
    }),
    decode: decodeKeyDigests,
  },
  'as far as asked, key 0 is wanted, and `hello` is newer': {
    bytes: encodeCompared({ upTo: undefined, wanted: [0], newer: [ENTRY] }),
    decode: bytes => decodeCompared(bytes, 1, PARTITIONER),
  },
  'epoch 9, partition 0x03ec, mark 5, `hello` has the tombstone above': {
    bytes: encodePush({ ...HEAD, entries: [ENTRY] }),
    decode: bytes => decodePush(bytes, PARTITIONER),
  },
  'confirm, epoch 9, up to 5, partition 0x03ec': {
    bytes: encodePurge({ step: PurgeStep.confirm, epoch: 9, timeMs: 5, partitions: [0x03ec] }),
    decode: decodePurge,
  },
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

/** The last cell of the row about `what`, without spaces and code marks. */
function lastCell(what: string): string {
  const rows = text.split('\n').map(line => line.split('|').map(cell => cell.trim()))
  const row = rows.find(cells => cells[1] === what)
  return row?.at(-2)?.replaceAll(/[` ]/g, '') ?? ''
}

describe('messages between members', () => {
  for (const [what, { bytes, decode }] of Object.entries(EXAMPLES)) {
    test(`${what}: is on the page`, () => {
      assert.equal(lastCell(what), hex(bytes))
    })

    test(`${what}: is decoded, and nothing shorter or longer is`, () => {
      decode(bytes)
      assert.throws(() => decode(Uint8Array.of(...bytes, 0)), ProtocolError)
      for (let size = 0; size < bytes.length; size++) {
        assert.throws(() => decode(bytes.subarray(0, size)), ProtocolError, `${size} bytes`)
      }
    })
  }
})
