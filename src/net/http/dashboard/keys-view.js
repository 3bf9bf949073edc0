/** The key browser: keys by prefix, and of one key its value, its replicas, and whether they agree. */
import { fetchKeys, fetchTrace, fetchValue } from './api.js'
import { byId, element, facts, table } from './dom.js'
import { bytes, count, dateTime, duration, namer } from './format.js'
import { hexDump, lineKey, shownKey, textOf, typedKey } from './key-bytes.js'

const PAGE_KEYS = 50
const PREVIEW_SIZE_MAX = 4096
const REPLICA_COLUMNS = [
  { title: 'Replica' },
  { title: 'Has' },
  { title: 'Written' },
  { title: 'Size', isNumber: true },
  { title: 'Fingerprint' },
  { title: 'Answered in', isNumber: true },
]

/** @typedef {import('./api.js').KeyTrace} KeyTrace */

export class KeysView {
  #highlight
  #input = element('input', {
    ...{ id: 'keys-prefix', type: 'search', autocomplete: 'off', spellcheck: 'false' },
    ...{ placeholder: 'empty for all; 0x… for bytes', autocapitalize: 'off' },
  })
  #list = element('div', { class: 'keys-list', 'aria-live': 'polite' })
  #detail = element('div', { class: 'key-detail', 'aria-live': 'polite' })
  /** Counts what was asked for: an answer to an earlier question is dropped. */
  #asked = 0
  #opened = 0

  /** @param {(partition: number | undefined) => void} highlight */
  constructor(highlight) {
    this.#highlight = highlight
    const find = (/** @type {Event} */ event) => {
      event.preventDefault()
      void this.#find(typedKey(this.#input.value))
    }
    const look = () => {
      const key = typedKey(this.#input.value)
      if (key.length > 0) void this.#open(key)
    }
    const form = element(
      'form',
      { class: 'keys-form', submit: find },
      element('label', { for: 'keys-prefix' }, 'Keys that begin with'),
      this.#input,
      element('button', { type: 'submit' }, 'Find keys'),
      element('button', { type: 'button', click: look }, 'Look up exactly this key'),
    )
    byId('keys-view').replaceChildren(
      form,
      element('div', { class: 'keys' }, this.#list, this.#detail),
    )
    this.#say(this.#list, 'empty', 'Nothing was looked for yet.')
  }

  /**
   * @param {HTMLElement} place
   * @param {'empty' | 'notice'} kind
   * @param {string} text
   */
  #say(place, kind, text) {
    place.replaceChildren(element('p', { class: kind }, text))
  }

  /**
   * @param {Uint8Array} prefix
   * @param {Uint8Array} [after]
   */
  async #find(prefix, after) {
    const asked = ++this.#asked
    this.#say(this.#list, 'empty', 'Looking…')
    try {
      const keys = (await fetchKeys(prefix, after, PAGE_KEYS)).map(lineKey)
      if (asked === this.#asked) this.#showKeys(prefix, keys, after !== undefined)
    } catch (error) {
      if (asked !== this.#asked) return
      this.#say(this.#list, 'notice', `Keys cannot be listed: ${messageOf(error)}`)
    }
  }

  /**
   * @param {Uint8Array} prefix
   * @param {readonly Uint8Array[]} keys
   * @param {boolean} isLater
   */
  #showKeys(prefix, keys, isLater) {
    const shown = keys.slice(0, PAGE_KEYS)
    const items = shown.map(key => {
      const open = () => void this.#open(key)
      return element('li', {}, element('button', { type: 'button', click: open }, shownKey(key)))
    })
    const last = shown.at(-1)
    const more = () => void this.#find(prefix, last)
    const begin = () => void this.#find(prefix)
    const controls = element(
      'p',
      { class: 'controls' },
      isLater ? element('button', { type: 'button', click: begin }, 'From the start') : undefined,
      keys.length > PAGE_KEYS
        ? element('button', { type: 'button', click: more }, `Next ${PAGE_KEYS}`)
        : undefined,
    )
    if (shown.length === 0) {
      const text = isLater ? 'There are no more.' : 'There is no such key.'
      this.#list.replaceChildren(element('p', { class: 'empty' }, text), controls)
    } else this.#list.replaceChildren(element('ul', {}, ...items), controls)
  }

  /** @param {Uint8Array} key */
  async #open(key) {
    const opened = ++this.#opened
    const isCurrent = () => opened === this.#opened
    const head = element('h3', {}, element('code', {}, shownKey(key)))
    const value = element('div', {}, element('p', { class: 'empty' }, 'Reading the value…'))
    const replicas = element('div', {}, element('p', { class: 'empty' }, 'Asking the replicas…'))
    this.#detail.replaceChildren(head, replicas, value)
    this.#highlight(undefined)
    const traced = fetchTrace(key).then(
      trace => {
        if (!isCurrent()) return
        replicas.replaceChildren(...replicaView(trace))
        this.#highlight(trace.partition)
      },
      error => this.#say(replicas, 'notice', `Replicas cannot be asked: ${messageOf(error)}`),
    )
    try {
      const read = await fetchValue(key, PREVIEW_SIZE_MAX)
      if (read === undefined) this.#say(value, 'empty', 'The key has no value.')
      else value.replaceChildren(valueView(read))
    } catch (error) {
      this.#say(value, 'notice', `The value cannot be read: ${messageOf(error)}`)
    }
    await traced
  }
}

/**
 * @param {KeyTrace} trace
 * @returns {Node[]}
 */
function replicaView({ replicas, agreed, partition }) {
  const nameOf = namer(replicas.map(({ node }) => node))
  const rows = replicas.map(({ node, state, version, size, hash, tookMs, error }) => [
    element('code', { title: node }, nameOf(node)),
    state === 'failed' ? `no answer: ${error ?? ''}` : state,
    version === undefined ? '–' : dateTime(version.timeMs),
    size === undefined ? '–' : bytes(size),
    element('code', {}, hash ?? '–'),
    duration(tookMs),
  ])
  const of =
    replicas.length === 1 ? 'The one replica holds it' : `All ${replicas.length} replicas agree`
  const verdict = agreed ? `✓ ${of}` : '✗ The replicas do not agree, or not all of them answer'
  return [
    element(
      'p',
      { class: 'verdict', 'data-agreed': String(agreed) },
      `${verdict}; partition ${count(partition)}.`,
    ),
    table('What each replica has', REPLICA_COLUMNS, rows),
  ]
}

/** @param {{ head: Uint8Array, size: number, expiryMs: number }} read */
function valueView({ head, size, expiryMs }) {
  const isCut = head.length < size
  const text = textOf(isCut ? wholeCharacters(head) : head)
  const area = element('pre', { tabindex: 0, 'aria-label': 'Value' })
  const choose = (/** @type {boolean} */ isHex) => {
    area.textContent = isHex ? hexDump(head) : (text ?? '')
    for (const [at, button] of buttons.entries()) {
      button.setAttribute('aria-pressed', String((at === 1) === isHex))
    }
  }
  const buttons = ['Text', 'Hex'].map((title, at) => {
    const isDisabled = at === 0 && text === undefined
    const attributes = { type: 'button', disabled: isDisabled, click: () => choose(at === 1) }
    return element('button', attributes, title)
  })
  choose(text === undefined)
  return element(
    'div',
    {},
    facts([
      ['Value', bytes(size), isCut ? `, the first ${bytes(head.length)} are shown` : ''],
      ['Expires', expiryMs === 0 ? 'never' : dateTime(expiryMs)],
    ]),
    element(
      'p',
      { class: 'controls', role: 'group', 'aria-label': 'Show the value as' },
      ...buttons,
    ),
    area,
  )
}

/**
 * Without the part of a character that a cut left at the end.
 *
 * @param {Uint8Array} bytes
 */
function wholeCharacters(bytes) {
  for (let end = bytes.length; end > bytes.length - 4 && end > 0; end--) {
    const part = bytes.subarray(0, end)
    if (textOf(part) !== undefined) return part
  }
  return bytes
}

/** @param {unknown} error */
function messageOf(error) {
  return error instanceof Error ? error.message : String(error)
}
