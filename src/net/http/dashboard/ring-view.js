/**
 * The ring: the hash space as a circle, one track a node. Where a node is the first owner of a
 * partition its track is dark, where it holds a further replica half dark; so ownership needs no
 * colours, and a look tells whether it is even.
 */
import { fetchRing } from './api.js'
import { byId, element, show, table } from './dom.js'
import { count, namer, percent } from './format.js'

/** @typedef {import('./api.js').RingOwnership} RingOwnership */

const SIZE = 320
const HOLE = 58
const TURN = 2 * Math.PI
const COLUMNS = [
  { title: 'Node' },
  { title: 'First owner of', isNumber: true },
  { title: 'Holds', isNumber: true },
]
/** Tracks that can still be told apart. */
const TRACKS_MAX = 24

export class RingView {
  /** @type {RingOwnership | undefined} */
  #ring
  /** @type {number | undefined} */
  #partition
  #isAsking = false
  #canvas = element('canvas', { role: 'img', 'aria-label': 'Loading' })

  constructor() {
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#draw())
  }

  /** @param {import('./api.js').Stats} figures */
  update({ cluster }) {
    const epoch = cluster?.epoch
    if (this.#isAsking || (this.#ring !== undefined && this.#ring.epoch === epoch)) return
    if (epoch === undefined) {
      show(byId('ring-view'), element('p', { class: 'empty' }, 'This server knows no ring.'))
      return
    }
    this.#isAsking = true
    void this.#load()
  }

  async #load() {
    try {
      this.#ring = await fetchRing()
      this.#show(this.#ring)
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      if (this.#ring === undefined) {
        show(
          byId('ring-view'),
          element('p', { class: 'notice' }, `The ring cannot be shown: ${why}`),
        )
      }
    } finally {
      this.#isAsking = false
    }
  }

  /**
   * Marks the partition of a key.
   *
   * @param {number | undefined} partition
   */
  highlight(partition) {
    this.#partition = partition
    this.#draw()
  }

  /** @param {RingOwnership} ring */
  #show({ members, partitionCount, replicas, epoch }) {
    const nameOf = namer(members.map(({ nodeId }) => nodeId))
    const rows = members.map(({ nodeId, partitions, firstPartitions }) => [
      element('code', { title: nodeId }, nameOf(nodeId)),
      percent(firstPartitions / partitionCount),
      percent(partitions / partitionCount),
    ])
    const isAll = replicas === members.length
    const holders = isAll ? 'every node holds all of them' : `${replicas} nodes hold each`
    const what = `${count(partitionCount)} partitions; ${holders}`
    this.#canvas.setAttribute(
      'aria-label',
      `Ring of epoch ${epoch}: ${what}; shares are in the table.`,
    )
    byId('ring-view').replaceChildren(
      element(
        'div',
        { class: 'ring' },
        this.#canvas,
        element(
          'div',
          {},
          element('p', {}, `${what}.`),
          key(),
          table('Shares of the ring', COLUMNS, rows),
        ),
      ),
    )
    this.#draw()
  }

  #draw() {
    const ring = this.#ring
    const context = this.#canvas.getContext('2d')
    if (ring === undefined || context === null) return
    const scale = Math.max(1, devicePixelRatio)
    this.#canvas.width = this.#canvas.height = SIZE * scale
    context.scale(scale, scale)
    context.translate(SIZE / 2, SIZE / 2)
    const style = getComputedStyle(document.documentElement)
    const colour = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`).trim()
    const tracks = Math.min(TRACKS_MAX, ring.members.length)
    const pitch = (SIZE / 2 - 6 - HOLE) / tracks
    const gap = Math.min(3, pitch / 4)
    const owners = ownersOf(ring)
    const shades = [colour('ring-first'), colour('ring-other'), colour('ring-none')]
    for (let track = 0; track < tracks; track++) {
      const radius = HOLE + pitch * (track + 0.5)
      for (const { from, to, shade } of runs(owners, ring, track)) {
        context.beginPath()
        context.strokeStyle = shades[shade] ?? ''
        context.lineWidth = pitch - gap
        const turn = TURN / ring.partitionCount
        context.arc(0, 0, radius, from * turn - TURN / 4, to * turn - TURN / 4)
        context.stroke()
      }
    }
    this.#drawPartition(context, colour('mark'))
    this.#drawMiddle(context, colour('ink'), colour('ink-soft'))
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {string} colour
   */
  #drawPartition(context, colour) {
    if (this.#partition === undefined || this.#ring === undefined) return
    const at = ((this.#partition + 0.5) / this.#ring.partitionCount) * TURN - TURN / 4
    const end = SIZE / 2 - 1
    context.beginPath()
    context.strokeStyle = colour
    context.lineWidth = 2.5
    context.moveTo(Math.cos(at) * (HOLE - 8), Math.sin(at) * (HOLE - 8))
    context.lineTo(Math.cos(at) * end, Math.sin(at) * end)
    context.stroke()
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {string} ink
   * @param {string} soft
   */
  #drawMiddle(context, ink, soft) {
    context.textAlign = 'center'
    context.fillStyle = ink
    context.font = '600 17px system-ui, sans-serif'
    context.fillText(this.#partition === undefined ? 'ring' : `#${this.#partition}`, 0, 0)
    context.fillStyle = soft
    context.font = '12px system-ui, sans-serif'
    const below = this.#partition === undefined ? `epoch ${this.#ring?.epoch}` : 'of the key'
    context.fillText(below, 0, 18)
  }
}

/** @param {RingOwnership} ring */
function ownersOf({ owners }) {
  const bytes = Uint8Array.from(atob(owners), character => character.charCodeAt(0))
  const view = new DataView(bytes.buffer)
  return Uint16Array.from({ length: bytes.length / 2 }, (_, at) => view.getUint16(at * 2, true))
}

/**
 * Neighbouring partitions that look the same, as one: the first (0), a further (1) or no owner (2).
 *
 * @param {Uint16Array} owners
 * @param {RingOwnership} ring
 * @param {number} member
 */
function* runs(owners, { partitionCount, replicas }, member) {
  const shadeOf = (/** @type {number} */ partition) => {
    const list = owners.subarray(partition * replicas, (partition + 1) * replicas)
    const place = list.indexOf(member)
    return place < 0 ? 2 : Math.min(1, place)
  }
  let from = 0
  let shade = shadeOf(0)
  for (let partition = 1; partition <= partitionCount; partition++) {
    const next = partition === partitionCount ? -1 : shadeOf(partition)
    if (next === shade) continue
    yield { from, to: partition, shade }
    from = partition
    shade = next
  }
}

function key() {
  const item = (/** @type {string} */ shade, /** @type {string} */ text) =>
    element(
      'span',
      { class: 'legend-item' },
      element('i', { class: `swatch ${shade}` }),
      ` ${text}`,
    )
  return element(
    'p',
    { class: 'legend' },
    item('first', 'first owner'),
    item('other', 'further replica'),
    item('none', 'does not hold it'),
  )
}
