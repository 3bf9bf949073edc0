/**
 * Whether the node lives and can serve, under the names that Kubernetes and others use.
 *
 *   /livez    200 while it answers at all: otherwise restart it
 *   /readyz   200 while it serves: otherwise send nobody here; ?verbose lists what was looked at
 *
 * Nobody needs a password for them, and they tell nothing about data.
 */
import type { HealthCheck, MaybePromise } from '../request-handler.ts'
import type { HttpCall } from './http-call.ts'
import { Query, type Target } from './request-target.ts'

const TEXT_HEADERS = ['Content-Type', 'text/plain; charset=utf-8', 'Cache-Control', 'no-store']

export function livez(call: HttpCall, { query }: Target): void {
  const isVerbose = new Query(query, ['verbose']).flag('verbose')
  call.reply(200, [...TEXT_HEADERS], textOf([{ name: 'answers', isOk: true }], isVerbose, 'livez'))
}

export function readyz(call: HttpCall, { query }: Target): void {
  const isVerbose = new Query(query, ['verbose']).flag('verbose')
  const { handler, isDraining } = call.context
  const draining = { name: 'stays', isOk: !isDraining, why: 'the node is shutting down' }
  const checked: MaybePromise<readonly HealthCheck[]> = handler.health?.() ?? []
  call.answer(checked, checks => {
    const all = [draining, ...checks]
    const isReady = all.every(({ isOk }) => isOk)
    const retry = isReady ? [] : ['Retry-After', '1']
    const headers = [...TEXT_HEADERS, ...retry]
    call.reply(isReady ? 200 : 503, headers, textOf(all, isVerbose, 'readyz'))
  })
}

function textOf(checks: readonly HealthCheck[], isVerbose: boolean, name: string): Buffer {
  const isOk = checks.every(check => check.isOk)
  if (!isVerbose && isOk) return Buffer.from('ok\n')
  const lines = checks.map(({ name, isOk, why }) => {
    return isOk ? `[+] ${name} ok\n` : `[-] ${name} failed: ${why ?? 'no reason given'}\n`
  })
  return Buffer.from(`${lines.join('')}${name} check ${isOk ? 'passed' : 'failed'}\n`)
}
