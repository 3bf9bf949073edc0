/** Colours and weights of terminal text. Without them every function gives the text back. */
import { styleText } from 'node:util'

type Format = Parameters<typeof styleText>[0]

export interface Style {
  readonly enabled: boolean
  bold(text: string): string
  dim(text: string): string
  key(text: string): string
  good(text: string): string
  warn(text: string): string
  bad(text: string): string
}

export function createStyle(enabled: boolean): Style {
  const apply =
    (format: Format) =>
    (text: string): string =>
      // Whether to colour was decided by colourWanted; Node need not ask its own streams.
      enabled ? styleText(format, text, { validateStream: false }) : text
  return {
    enabled,
    bold: apply('bold'),
    dim: apply('gray'),
    key: apply('cyan'),
    good: apply('green'),
    warn: apply('yellow'),
    bad: apply('red'),
  }
}

export const PLAIN_STYLE: Style = createStyle(false)

/** Colours go to terminals, unless NO_COLOR says otherwise (no-color.org); FORCE_COLOR wins. */
export function colourWanted(
  isTerminal: boolean,
  env: Readonly<Record<string, string | undefined>>,
): boolean {
  const forced = env['FORCE_COLOR']
  if (forced !== undefined && forced !== '') return forced !== '0' && forced !== 'false'
  const refused = env['NO_COLOR']
  if (refused !== undefined && refused !== '') return false
  return isTerminal && env['TERM'] !== 'dumb'
}
