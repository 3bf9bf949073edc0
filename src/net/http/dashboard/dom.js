/**
 * Elements without markup: every text becomes a text node, so that keys, values and names are shown
 * as they are, whatever they contain.
 */

/** @typedef {Node | string | number | undefined} Child */
/** @typedef {string | number | boolean | undefined | ((event: Event) => void)} Attribute */

/**
 * An element. Attributes that are functions listen to the event of their name; true is an attribute
 * without a value, false and undefined none.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Readonly<Record<string, Attribute>>} attributes
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, attributes, ...children) {
  const made = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') made.addEventListener(name, value)
    else if (value !== undefined && value !== false) {
      made.setAttribute(name, value === true ? '' : String(value))
    }
  }
  for (const child of children) {
    if (child !== undefined) made.append(child instanceof Node ? child : String(child))
  }
  return made
}

/**
 * The element of the page with that id. Throws when the page lacks it.
 *
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  const found = document.getElementById(id)
  if (found === null) throw new Error(`the page has no #${id}`)
  return found
}

/**
 * @typedef {object} Column
 * @property {string} title
 * @property {boolean} [isNumber] aligned at its end
 */

/** So many have room on a phone. */
const COLUMNS_NARROW = 5

/**
 * A table that, unless it is narrow, becomes a list of cards where the screen is narrow: each cell knows its title.
 *
 * @param {string} caption for those who do not see it
 * @param {readonly Column[]} columns
 * @param {readonly (readonly Child[])[]} rows
 */
export function table(caption, columns, rows) {
  const head = columns.map(({ title, isNumber }) => {
    return element('th', { scope: 'col', role: 'columnheader', class: isNumber && 'number' }, title)
  })
  const body = rows.map(cells => {
    const made = cells.map((cell, at) => {
      const { title = '', isNumber } = columns[at] ?? {}
      const attributes = { role: 'cell', 'data-title': title, class: isNumber && 'number' }
      return element('td', attributes, element('span', {}, cell))
    })
    return element('tr', { role: 'row' }, ...made)
  })
  return element(
    'table',
    { role: 'table', class: columns.length > COLUMNS_NARROW && 'cards' },
    element('caption', { class: 'hidden' }, caption),
    element('thead', { role: 'rowgroup' }, element('tr', { role: 'row' }, ...head)),
    element('tbody', { role: 'rowgroup' }, ...body),
  )
}

/**
 * Names and what they are, side by side.
 *
 * @param {readonly (readonly [name: string, ...Child[]])[]} pairs
 */
export function facts(pairs) {
  const all = pairs.map(([name, ...values]) => {
    return element('div', {}, element('dt', {}, name), element('dd', {}, ...values))
  })
  return element('dl', { class: 'facts' }, ...all)
}

/**
 * Puts `content` into the place unless it shows the same already: what somebody selects, or a
 * screen reader reads, stays while nothing changes.
 *
 * @param {HTMLElement} place
 * @param {...Node} content
 */
export function show(place, ...content) {
  const next = element('div', {}, ...content)
  if (next.childNodes.length === place.childNodes.length) {
    const isSame = [...next.childNodes].every((node, at) => {
      return node.isEqualNode(place.childNodes[at] ?? null)
    })
    if (isSame) return
  }
  place.replaceChildren(...next.childNodes)
}
