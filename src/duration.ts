/** Durations as people write them: a number and its unit. Pure. */

const DURATION = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/
const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}
const DURATION_MS_MAX = 2 ** 51 - 1
/** The longest, for messages. */
export const DURATION_MAX = `${Math.floor(DURATION_MS_MAX / 86_400_000)}d`

/** Whether the text has the form of a duration, be it too short or too long for one. */
export function looksLikeDuration(text: string, bareUnit?: 'ms' | 's'): boolean {
  const match = DURATION.exec(text)
  return match !== null && (match[2] ?? bareUnit) !== undefined
}

/**
 * `500ms`, `10s`, `5m`, `2h`, `1d` in milliseconds, at least 1; undefined for anything else, and
 * for a number without a unit, unless there is a `bareUnit` for it.
 */
export function durationMs(text: string, bareUnit?: 'ms' | 's'): number | undefined {
  const match = DURATION.exec(text)
  const unitMs = UNIT_MS[match?.[2] ?? bareUnit ?? '']
  if (match === null || unitMs === undefined) return undefined
  const ms = Math.round(Number(match[1]) * unitMs)
  return ms >= 1 && ms <= DURATION_MS_MAX ? ms : undefined
}
