/**
 * cluster: who the nodes are, what they own, and who owns a key. Asks a server for its ring and
 * works the rest out here, as every node does.
 */
import type { Placement, Ring, RingMember, RingTable } from '../cluster/index.ts'
import { InvalidArgumentError } from '../errors.ts'
import { runHints } from './cluster-hints.ts'
import { runStatus } from './cluster-status.ts'
import { type Command, type CommandContext, callOptions } from './command.ts'
import { decodeArgument, jsonField, showToken } from './data-encoding.ts'
import { ExitCode } from './exit-code.ts'
import { flagOption } from './option-values.ts'
import { RefusedError } from './refused-error.ts'
import { formatCount, renderTable, type TableColumn } from './render.ts'
import { runRepair } from './repair-command.ts'
import { shortIds } from './short-ids.ts'
import type { Style } from './style.ts'
import { unknownChoice } from './unknown-choice.ts'
import { UsageError } from './usage-error.ts'

const ACTION_ITEMS = [
  ['status', 'GREEN, YELLOW or RED, and each node; exit code 1 unless green'],
  ['ring', 'each node: state, weight, partitions, share of data, rack, address'],
  ['owners', 'the partition of a key, and the nodes that own it, the first first'],
  ['hints', 'what nodes keep for others that were away; exit code 1 if anything'],
  ['repair', 'compare all replicas now, and even out what differs'],
  ['abort', 'take back a join whose node will never come; its id never returns'],
] as const

const ACTIONS = ACTION_ITEMS.map(([action]) => action)

const DETAILS =
  'A share is that of all replicas, beside what it should be by weight. While a node joins or ' +
  'leaves, both tell what is owned before and after.'

export const clusterCommand: Command = {
  name: 'cluster',
  summary: 'show how the nodes are, their ring and who owns a key; repair them',
  details: DETAILS,
  lists: [{ title: 'Actions', items: ACTION_ITEMS }],
  args: [
    { name: 'action', description: ACTIONS.join(', '), choices: ACTIONS },
    {
      name: 'key',
      description: 'of owners: 1 to 65,533 bytes',
      required: false,
      completes: 'keys',
    },
  ],
  options: [{ flags: '--wait', description: 'status: until it is green, or Ctrl-C' }],
  examples: [
    { line: 'kvcli cluster status', says: 'are all of them there?' },
    { line: 'kvcli cluster status --wait', says: 'tell me when all is well again' },
    { line: 'kvcli cluster hints', says: 'what do nodes that were away lack?' },
    { line: 'kvcli cluster ring', says: 'who has how much?' },
    { line: 'kvcli cluster ring --json', says: 'with whole ids and tokens' },
    { line: 'kvcli cluster owners user:1', says: 'where does it lie?' },
  ],
  run: runCluster,
}

async function runCluster(context: CommandContext): Promise<ExitCode> {
  const [action, key] = context.args
  const isWaiting = flagOption(context.options, 'wait')
  if (isWaiting && action !== 'status') throw new UsageError('only cluster status waits')
  if (action === 'owners') {
    if (key === undefined)
      throw new UsageError('cluster owners needs a key: kvcli cluster owners user:1')
    return await runOwners(context, decodeArgument(key, context.encoding, 'key'))
  }
  const run = RUNS.get(action ?? '')
  if (run === undefined) {
    throw unknownChoice('cluster', action, ACTIONS)
  }
  if (key !== undefined) throw new UsageError(`cluster ${action} takes no key`)
  return await run(context)
}

/** The actions without a key. */
const RUNS: ReadonlyMap<string, (context: CommandContext) => Promise<ExitCode>> = new Map([
  ['status', runStatusOf],
  ['ring', runRing],
  ['hints', runHints],
  ['repair', runRepair],
  ['abort', runAbort],
])

function runStatusOf(context: CommandContext): Promise<ExitCode> {
  return runStatus(context, () => fetchTable(context), flagOption(context.options, 'wait'))
}

async function runAbort(context: CommandContext): Promise<ExitCode> {
  const client = await context.session.client(context.signal)
  const { epoch } = await client
    .admin({ command: 'abort' }, callOptions(context))
    .catch((error: unknown) => Promise.reject(refusedAbort(error)))
  await context.output.print({ epoch }, () => `taken back, in epoch ${formatCount(Number(epoch))}`)
  return ExitCode.ok
}

/** What the server refuses is no mistake in the command: what is under way is another thing. */
function refusedAbort(error: unknown): unknown {
  if (!(error instanceof InvalidArgumentError)) return error
  const advice = 'see what is under way: kvcli cluster status'
  return new RefusedError(error.message, { advice, cause: error })
}

/** Loaded when first needed: every other command starts sooner without the cluster. */
function clusterLayer(): Promise<typeof import('../cluster/index.ts')> {
  return import('../cluster/index.ts')
}

async function fetchTable(context: CommandContext): Promise<RingTable> {
  const { session } = context
  const client = await session.client(context.signal)
  const bytes = await client.ringMap(callOptions(context))
  const { decodeRingMessage, RingTable } = await clusterLayer()
  return new RingTable(decodeRingMessage(bytes, session.url))
}

/** A row of `cluster ring`; counts are partitions. */
interface MemberRow {
  readonly member: RingMember
  readonly tokens: number
  readonly owned: number
  readonly ownedAfter: number
  readonly share: number
  readonly idealShare: number
}

async function runRing(context: CommandContext): Promise<ExitCode> {
  const { output } = context
  const table = await fetchTable(context)
  const { loads, operationOf } = await clusterLayer()
  const { ring, after } = table
  const operation = operationOf(ring.members) ?? null
  const owned = table.readers.partitionsOwned()
  const loadOf = new Map(loads(after).map(load => [load.index, load]))
  const replicas = after.partitionCount * after.width
  const rows = ring.members.map((member, index): MemberRow => {
    const load = loadOf.get(index) ?? { owned: 0, ideal: 0 }
    return {
      member,
      tokens: ring.virtualNodes * member.weight,
      owned: owned[index]!,
      ownedAfter: load.owned,
      share: load.owned / replicas,
      idealShare: load.ideal / replicas,
    }
  })
  const result = { ...ringJson(ring), operation, members: rows.map(rowJson) }
  await output.print(result, () => renderRing(ring, operation?.type, rows, output.style))
  return ExitCode.ok
}

function ringJson(ring: Ring): Record<string, unknown> {
  const { epoch, phase, clusterId, partitionCount, replicationFactor, virtualNodes } = ring
  const removed = ring.removedIds
  return { epoch, phase, clusterId, partitionCount, replicationFactor, virtualNodes, removed }
}

function memberJson({ nodeId, clientAddress, peerAddress, rack, weight, state }: RingMember) {
  return { nodeId, clientAddress, peerAddress, rack, weight, state }
}

function rowJson(row: MemberRow): Record<string, unknown> {
  const { member, tokens, owned, ownedAfter, share, idealShare } = row
  return { ...memberJson(member), tokens, owned, ownedAfter, share, idealShare }
}

const RING_COLUMNS: readonly TableColumn[] = [
  { title: 'member' },
  { title: 'state' },
  { title: 'weight', align: 'right' },
  { title: 'partitions', align: 'right' },
  { title: 'share', align: 'right' },
  { title: 'ideal', align: 'right' },
  { title: 'rack' },
  { title: 'address' },
]

function renderRing(
  ring: Ring,
  operation: string | undefined,
  rows: readonly MemberRow[],
  style: Style,
): string {
  const nameOf = shortIds(rows.map(({ member }) => member.nodeId))
  const cells = rows.map(({ member, owned, ownedAfter, share, idealShare }) => [
    nameOf(member.nodeId),
    member.state,
    formatCount(member.weight),
    owned === ownedAfter
      ? formatCount(owned)
      : `${formatCount(owned)} -> ${formatCount(ownedAfter)}`,
    formatShare(share),
    formatShare(idealShare),
    member.rack,
    member.clientAddress,
  ])
  const replicas = Math.min(ring.replicationFactor, rows.length)
  const facts = [
    `epoch ${formatCount(ring.epoch)}`,
    `${formatCount(ring.partitionCount)} partitions`,
    `replication factor ${ring.replicationFactor}`,
  ]
  const lines = [facts.join(', '), renderTable(RING_COLUMNS, cells, style).trimEnd()]
  if (operation !== undefined) {
    const readers = ring.phase === 'readOld' ? 'before' : 'after'
    lines.push(`a ${operation} is under way: reads go to the owners ${readers} it`)
  }
  if (replicas < ring.replicationFactor) {
    lines.push(
      `${style.dim('  ->')} too few nodes for ${ring.replicationFactor} replicas: ` +
        `every key is on ${replicas === 1 ? 'one' : replicas}`,
    )
  }
  return lines.join('\n')
}

function formatShare(share: number): string {
  return `${(share * 100).toFixed(1)} %`
}

async function runOwners(context: CommandContext, key: Uint8Array): Promise<ExitCode> {
  const { Partitioner, USER_KEY_SIZE_MAX } = await clusterLayer()
  if (key.length < 1 || key.length > USER_KEY_SIZE_MAX) {
    throw new UsageError(`a key has 1 to ${USER_KEY_SIZE_MAX} bytes, got ${key.length}`)
  }
  const table = await fetchTable(context)
  const { before, after, readers, ring } = table
  const partition = new Partitioner(ring.partitionCount).partitionOf(key)
  const owners = membersOf(readers, partition)
  const both = [...membersOf(before, partition), ...membersOf(after, partition)]
  const writers = [...new Set(both)].filter(member => !owners.includes(member))
  const { output, encoding } = context
  const result = {
    ...jsonField('key', key, encoding),
    partition,
    epoch: ring.epoch,
    phase: ring.phase,
    owners: owners.map(memberJson),
    writesAlso: writers.map(memberJson),
  }
  await output.print(result, () => {
    const rows = [
      ...owners.map((member, place) => ownerCells(String(place + 1), member)),
      ...writers.map(member => ownerCells('writes', member)),
    ]
    const title = `${showToken(key, encoding)} is in partition ${formatCount(partition)}`
    return `${title}\n${renderTable(OWNER_COLUMNS, rows, output.style).trimEnd()}`
  })
  return ExitCode.ok
}

const OWNER_COLUMNS: readonly TableColumn[] = [
  { title: '', align: 'right' },
  { title: 'member' },
  { title: 'state' },
  { title: 'address' },
]

function ownerCells(place: string, member: RingMember): string[] {
  return [place, member.nodeId, member.state, member.clientAddress]
}

function membersOf(placement: Placement, partition: number): RingMember[] {
  return Array.from({ length: placement.width }, (_, place) => placement.memberAt(partition, place))
}
