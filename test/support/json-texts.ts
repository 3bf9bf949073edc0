/** Arbitrary JSON, written with arbitrary white space, and what it means to an import. */
import fc from 'fast-check'

const SPACES = ['', '', '', ' ', '\n', '\r\n', '\t ', '  \n ']

export const space = fc.constantFrom(...SPACES)

const character = fc.oneof(
  fc.constantFrom('a', '"', '\\', '/', '\n', '\u0000', '\u001f', '\u007f', '{', ']', ',', ':'),
  fc.constantFrom('é', '€', '\u2028', '\ufeff', '\u{1f600}', '\ufffd'),
)

export const jsonText = fc.array(character, { maxLength: 8 }).map(parts => parts.join(''))

/** A string in quotes, some of its characters escaped without need. */
export const jsonString: fc.Arbitrary<string> = fc
  .tuple(jsonText, fc.array(fc.boolean(), { minLength: 16, maxLength: 16 }))
  .map(([text, escaped]) => {
    const units = [...text].map((unit, index) => {
      const short = JSON.stringify(unit).slice(1, -1)
      if (escaped[index] !== true) return short
      return Array.from(unit.split(''), half => {
        return `\\u${half.charCodeAt(0).toString(16).padStart(4, '0')}`
      }).join('')
    })
    return `"${units.join('')}"`
  })

const scalar = fc.oneof(
  jsonString,
  fc.constantFrom('0', '-0', '12.50', '1e5', '-3E-2', 'true', 'false', 'null'),
)

/** Any value as text. */
export const jsonValue: fc.Arbitrary<string> = fc.letrec<{ value: string }>(tie => ({
  value: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    scalar,
    fc
      .tuple(space, fc.array(tie('value'), { maxLength: 3 }))
      .map(([gap, items]) => `[${gap}${items.join(`${gap},${gap}`)}${gap}]`),
    fc
      .tuple(space, fc.array(fc.tuple(jsonString, tie('value')), { maxLength: 3 }))
      .map(([gap, members]) => {
        const texts = members.map(([name, value]) => `${name}${gap}:${gap}${value}`)
        return `{${gap}${texts.join(`${gap},${gap}`)}${gap}}`
      }),
  ),
})).value

/** Any value but null, which stands for nothing to store. */
export const jsonStored = jsonValue.filter(text => text !== 'null')

/** The bytes that are stored for a value: a string's content, another value's text. */
export function storedBytes(value: string): Buffer {
  const parsed: unknown = JSON.parse(value)
  return Buffer.from(typeof parsed === 'string' ? parsed : value, 'utf8')
}
