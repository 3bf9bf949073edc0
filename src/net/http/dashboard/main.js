/**
 * The page, put together: asks for the figures once a second while it is seen, and shows them.
 *
 *   loading --figures--> live --no answer--> lost (the last figures stay, marked) --figures--> live
 */
import { AskError, fetchStats } from './api.js'
import { ClusterView } from './cluster-view.js'
import { byId, element, show } from './dom.js'
import { EventsView } from './events-view.js'
import { clockTime, counted, duration } from './format.js'
import { KeysView } from './keys-view.js'
import { LoadView } from './load-view.js'
import { RingView } from './ring-view.js'
import { StorageView } from './storage-view.js'

const POLL_MS = 1000
/** Seconds that were missed are asked for, beyond so many. */
const GAP_MS = 2500

class Page {
  #ring = new RingView()
  #views = [new ClusterView(), new LoadView(), this.#ring, new StorageView(), new EventsView()]
  #isPolling = false
  /** When the last figures came; 0 before the first. */
  #contactMs = 0

  constructor() {
    new KeysView(partition => this.#ring.highlight(partition))
    document.addEventListener('visibilitychange', () => this.#wake())
    this.#wake()
  }

  /** A page that nobody sees asks nothing. */
  #wake() {
    if (document.hidden || this.#isPolling) return
    this.#isPolling = true
    void this.#poll()
  }

  async #poll() {
    while (!document.hidden) {
      const startMs = performance.now()
      await this.#once()
      const restMs = POLL_MS - (performance.now() - startMs)
      await new Promise(resolve => setTimeout(resolve, Math.max(100, restMs)))
    }
    this.#isPolling = false
  }

  async #once() {
    try {
      const hasGap = this.#contactMs === 0 || Date.now() - this.#contactMs > GAP_MS
      const stats = await fetchStats(hasGap)
      this.#contactMs = Date.now()
      this.#showContact('live', `live, ${clockTime(Date.now())}`)
      this.#showAbout(stats)
      for (const view of this.#views) view.update(stats)
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      const since = this.#contactMs === 0 ? '' : `; figures of ${clockTime(this.#contactMs)}`
      this.#showContact('lost', `no contact: ${why}${since}`)
      // Whatever else it is, it is a bug of the page: the console has it.
      if (!(error instanceof AskError)) reportError(error)
    }
  }

  /**
   * @param {'live' | 'lost'} state
   * @param {string} text
   */
  #showContact(state, text) {
    document.body.dataset['contact'] = state
    show(byId('contact'), document.createTextNode(`${state === 'live' ? '▶' : '■'} ${text}`))
  }

  /** @param {import('./api.js').Stats} stats */
  #showAbout({ version, stats, doors, cluster }) {
    const connections = Object.values(doors).reduce((sum, door) => sum + door.connections, 0)
    const id = stats.node?.id.slice(0, 8) ?? 'a node'
    const parts = [
      `node ${id}`,
      ...(version === '' ? [] : [`version ${version}`]),
      ...(stats.node === undefined ? [] : [`up for ${duration(stats.node.uptimeMs)}`]),
      counted(connections, 'connection'),
    ]
    document.title = `${cluster?.health.toUpperCase() ?? 'Duramen'} · ${id} · Duramen`
    show(byId('about'), ...parts.map(part => element('span', {}, part)))
  }
}

new Page()
