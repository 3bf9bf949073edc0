/** How the cluster and its nodes are; what is owed to each, and how far repair is. */
import { byId, element, facts, show, table } from './dom.js'
import { bytes, count, counted, duration, namer, percent } from './format.js'

/** @typedef {import('./api.js').ClusterStatus} ClusterStatus */
/** @typedef {ClusterStatus['members'][number]} Member */
/** @typedef {import('./api.js').Stats} Stats */

/** Told apart by shape and word; colour only adds to it. */
const SHAPES = /** @type {Readonly<Record<string, string>>} */ ({
  up: '●',
  suspect: '◐',
  down: '○',
  unknown: '◌',
})
const HEALTH = { green: '●', yellow: '▲', red: '■' }

/** Why a node takes no writes, by the number that it says; see the cluster's PROTOCOL.md. */
const REFUSALS = /** @type {Readonly<Record<number, string>>} */ ({
  1: 'its disk is full',
  2: 'it may open no more files',
  3: 'its disk keeps failing',
})

const NODE_COLUMNS = [
  { title: 'Node' },
  { title: 'State' },
  { title: 'Reads/s', isNumber: true },
  { title: 'Writes/s', isNumber: true },
  { title: 'p99', isNumber: true },
  { title: 'Hints pending', isNumber: true },
  { title: 'Partitions', isNumber: true },
  { title: 'Clients reach it at' },
]

const OWED_COLUMNS = [
  { title: 'To node' },
  { title: 'Hints pending', isNumber: true },
  { title: 'Their bytes', isNumber: true },
  { title: 'On the way', isNumber: true },
  { title: 'For', isNumber: true },
  { title: 'To compare', isNumber: true },
  { title: 'Last compared', isNumber: true },
]

export class ClusterView {
  /** @param {Stats} figures */
  update({ cluster, stats, load }) {
    if (cluster === null) {
      show(byId('health'), document.createTextNode('No cluster'))
      show(byId('nodes-table'), element('p', { class: 'empty' }, 'This server knows no cluster.'))
    } else {
      this.#showHealth(cluster)
      show(byId('nodes-table'), nodesTable(cluster, stats.node?.partitions ?? 0, load))
    }
    show(byId('repair-view'), ...repairView(stats, cluster))
  }

  /** @param {ClusterStatus} cluster */
  #showHealth(cluster) {
    const { health, members } = cluster
    const up = members.filter(({ liveness }) => liveness === 'up').length
    const text = `${health.toUpperCase()} ${up} of ${counted(members.length, 'node')} up`
    const shape = element('span', { 'aria-hidden': 'true' }, HEALTH[health])
    const place = byId('health')
    place.dataset['health'] = health
    show(place, shape, document.createTextNode(` ${text}`))
    show(byId('findings'), document.createTextNode(findings(cluster)))
  }
}

/**
 * What is not as it should be, and what it means.
 *
 * @param {ClusterStatus} cluster
 */
function findings({ members, phase, epoch, health, ...status }) {
  const found = []
  const nameOf = namer(members.map(({ nodeId }) => nodeId))
  const away = members.filter(({ liveness }) => liveness !== 'up')
  const owed = members.reduce((sum, member) => sum + member.owedWrites, 0)
  if (status.partitionsWithoutReplica > 0) {
    found.push(`${counted(status.partitionsWithoutReplica, 'partition')} cannot be reached at all`)
  }
  if (status.partitionsWithoutQuorum > 0) {
    found.push(`${counted(status.partitionsWithoutQuorum, 'partition')} have no quorum`)
  } else if (away.length > 0) {
    found.push('every key can still be read and written, at quorum too')
  }
  if (owed > 0) found.push(`${counted(owed, 'write')} kept for nodes that lack them`)
  if (phase !== 'stable') found.push(`the ring is changing (${phase})`)
  for (const member of members) {
    const name = nameOf(member.nodeId)
    if (member.epoch !== undefined && member.epoch !== epoch) {
      found.push(`${name} goes by the ring of epoch ${member.epoch}`)
    }
    const offMs = member.states['clockOffMs'] ?? 0
    if (offMs > 0) found.push(`${name} takes no writes: its clock is off by ${duration(offMs)}`)
    const refusal = member.states['writesRefused'] ?? 0
    if (refusal > 0) found.push(`${name} takes no writes: ${REFUSALS[refusal] ?? 'see its log'}`)
  }
  if (found.length === 0) return health === 'green' ? 'All is well.' : 'Not all is told yet.'
  const text = `${found.join('; ')}.`
  return text[0]?.toUpperCase() + text.slice(1)
}

/**
 * @param {ClusterStatus} cluster
 * @param {number} partitionCount
 * @param {import('./api.js').LoadPoint | null} load of the node that was asked
 */
function nodesTable({ members }, partitionCount, load) {
  const nameOf = namer(members.map(({ nodeId }) => nodeId))
  const rows = members.map(member => {
    const { readsPerSecond, writesPerSecond, p99Us } = member.isAsked
      ? ownLoad(load)
      : member.states
    const isUp = member.liveness === 'up'
    const rate = (/** @type {number | undefined} */ value) =>
      isUp && value !== undefined ? count(value) : '–'
    return [
      nodeName(member, nameOf),
      stateOf(member),
      rate(readsPerSecond),
      rate(writesPerSecond),
      isUp && p99Us !== undefined && p99Us > 0 ? duration(p99Us / 1000) : '–',
      hintsOf(member),
      `${count(member.partitions)} (${percent(member.partitions / Math.max(1, partitionCount))})`,
      member.clientAddress,
    ]
  })
  return table('Nodes and their state', NODE_COLUMNS, rows)
}

/**
 * In the terms of what nodes tell each other.
 *
 * @param {import('./api.js').LoadPoint | null} load
 * @returns {Readonly<Record<string, number>>}
 */
function ownLoad(load) {
  if (load === null) return {}
  const p99Ms = Math.max(load.readP99Ms ?? 0, load.writeP99Ms ?? 0)
  return { readsPerSecond: load.reads, writesPerSecond: load.writes, p99Us: p99Ms * 1000 }
}

/**
 * @param {Member} member
 * @param {(id: string) => string} nameOf
 */
function nodeName({ nodeId, isAsked, rack, weight }, nameOf) {
  const more = [
    ...(isAsked ? ['this node'] : []),
    ...(rack === '' ? [] : [`rack ${rack}`]),
    ...(weight === 1 ? [] : [`weight ${weight}`]),
  ]
  const tags = more.map(text => element('small', { class: 'tag' }, text))
  return element('span', { title: nodeId }, element('code', {}, nameOf(nodeId)), ' ', ...tags)
}

/** @param {Member} member */
function stateOf({ liveness, forMs, state }) {
  const shape = element('span', { 'aria-hidden': 'true' }, SHAPES[liveness] ?? SHAPES['unknown'])
  // How long it has been up is of no interest, and would change the page every second.
  const isLong = liveness !== 'up' && forMs >= 1000
  const since = isLong ? ` for ${duration(Math.floor(forMs / 1000) * 1000)}` : ''
  const word = liveness === 'suspect' ? 'suspect: no answer' : liveness
  const role = state === 'normal' ? '' : `, ${state}`
  return element(
    'span',
    { class: 'state', 'data-state': liveness },
    shape,
    ` ${word}${since}${role}`,
  )
}

/** @param {Member} member */
function hintsOf({ owedWrites, isOwedEstimate, owedPartitions }) {
  const writes = `${isOwedEstimate && owedWrites > 0 ? '≤ ' : ''}${count(owedWrites)}`
  return owedPartitions === 0 ? writes : `${writes} + ${counted(owedPartitions, 'partition')}`
}

/**
 * @param {Stats['stats']} stats
 * @param {ClusterStatus | null} cluster
 * @returns {Node[]}
 */
function repairView({ cluster: work }, cluster) {
  if (work === undefined || cluster === null || cluster.members.length === 1) {
    return [element('p', { class: 'empty' }, 'One node alone owes nobody anything: nothing to do.')]
  }
  const { writes, repair } = work
  const nameOf = namer(cluster.members.map(({ nodeId }) => nodeId))
  const rows = Object.entries(writes.peers).map(([peer, figures]) => {
    const { hintCount, hintBytes, pendingBytes, pendingAgeMs, dirtyPartitions } = figures
    const lastMs = repair.peers[peer]?.lastRoundAgoMs
    return [
      element('code', { title: peer }, nameOf(peer)),
      `${figures.isHintCountExact ? '' : '≤ '}${count(hintCount)}`,
      bytes(hintBytes),
      bytes(pendingBytes),
      pendingBytes === 0 ? '–' : duration(pendingAgeMs),
      counted(dirtyPartitions, 'partition'),
      lastMs === undefined ? 'not yet' : `${duration(lastMs)} ago`,
    ]
  })
  return [table('What this node owes each other one', OWED_COLUMNS, rows), repairFacts(repair)]
}

/** @param {import('./api.js').RepairFigures} repair */
function repairFacts({ compared, divergent, pulled, pushed, bytes: size, run }) {
  const round = run.isRunning
    ? element(
        'span',
        {},
        element('progress', { value: run.compared, max: Math.max(1, run.total) }),
        ` ${count(run.compared)} of ${counted(run.total, 'partition')}`,
      )
    : run.total === 0
      ? 'none asked for'
      : `over, ${counted(run.divergent, 'key')} differed`
  return facts([
    ['Full round', round],
    ['Trees compared', count(compared)],
    ['Keys that differed', count(divergent)],
    ['Fetched, sent', `${count(pulled)}, ${count(pushed)}`],
    ['Traffic of repair', bytes(size)],
  ])
}
