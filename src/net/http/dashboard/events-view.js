/** What happened: asked for when there is something new, and filtered by kind. */
import { AskError, fetchEvents } from './api.js'
import { byId, element, show } from './dom.js'
import { clockTime, field, fieldName, shortened } from './format.js'

/** @typedef {import('./api.js').EventsPage['events'][number]} LoggedEvent */

const SHOWN_MAX = 200
const KINDS = /** @type {const} */ ([
  ['', 'everything'],
  ['problems', 'warnings and errors'],
  ['log', 'the log'],
  ['flush', 'flushes'],
  ['compaction', 'compactions'],
  ['stall', 'stalls'],
])

export class EventsView {
  /** @type {LoggedEvent[]} */
  #events = []
  #last = 0
  #isAsking = false
  #kind = ''
  #list = element('ol', { class: 'events', tabindex: 0, 'aria-label': 'Events' })

  constructor() {
    const options = KINDS.map(([value, text]) => element('option', { value }, text))
    const choose = (/** @type {Event} */ event) => {
      this.#kind = /** @type {HTMLSelectElement} */ (event.target).value
      this.#show()
    }
    const select = element('select', { id: 'events-kind', change: choose }, ...options)
    const label = element('label', { for: 'events-kind' }, 'Show ')
    byId('events-view').replaceChildren(element('p', {}, label, select), this.#list)
    this.#show()
  }

  /** @param {import('./api.js').Stats} figures */
  update({ lastEvent }) {
    // Sequences of a node that was started anew begin anew.
    if (lastEvent < this.#last) {
      this.#last = 0
      this.#events = []
    }
    if (lastEvent === this.#last || this.#isAsking) return
    this.#isAsking = true
    void this.#load()
  }

  async #load() {
    try {
      const { last, events } = await fetchEvents(this.#last)
      this.#last = last
      this.#events = [...events.toReversed(), ...this.#events].slice(0, SHOWN_MAX)
      this.#show()
    } catch (error) {
      // The figures say that there is no contact; the next ones ask again.
      if (!(error instanceof AskError)) reportError(error)
    } finally {
      this.#isAsking = false
    }
  }

  #show() {
    const wanted = this.#events.filter(({ kind, level }) => {
      if (this.#kind === 'problems') return level !== 'info'
      return this.#kind === '' || kind === this.#kind
    })
    const none = element('li', { class: 'empty' }, 'Nothing of that so far.')
    show(this.#list, ...(wanted.length === 0 ? [none] : wanted.map(line)))
  }
}

/** @param {LoggedEvent} event */
function line({ atMs, level, kind, message, fields }) {
  const parts = Object.entries(fields).map(([name, value]) => {
    return element(
      'span',
      { class: 'field' },
      `${fieldName(name)} `,
      element('b', {}, field(name, value)),
    )
  })
  return element(
    'li',
    { 'data-level': level },
    element('time', { datetime: new Date(atMs).toISOString() }, clockTime(atMs)),
    element('span', { class: 'level' }, level.toUpperCase()),
    element('span', { class: 'kind' }, kind),
    element('span', { class: 'what' }, shortened(message), ' ', ...parts),
  )
}
