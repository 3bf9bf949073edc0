/**
 * The dashboard: a page that asks this door for figures, and nobody else for anything. The policy
 * that it is served with lets it neither load nor call what is not of this server, nor turn text
 * into markup: keys and values are anybody's bytes.
 */
import { DASHBOARD_FILES } from './dashboard-files.ts'
import type { HttpCall } from './http-call.ts'
import { hasTag } from './request-fields.ts'
import { Query, type Target } from './request-target.ts'

const HOME = '/dashboard/'

export const DASHBOARD_PATHS: readonly string[] = ['', ...DASHBOARD_FILES].map(
  name => `${HOME}${name}`,
)

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ')

export function dashboard(call: HttpCall, { path, query }: Target): void {
  new Query(query, [])
  if (!path.startsWith(HOME)) {
    call.reply(302, ['Location', HOME, 'Cache-Control', 'no-store'])
    return
  }
  call.answer(call.context.dashboard.read(path.slice(HOME.length)), ({ bytes, type, tag }) => {
    const headers = [
      ...['Content-Type', type, 'ETag', tag, 'Cache-Control', 'no-cache'],
      ...['Content-Security-Policy', POLICY, 'X-Content-Type-Options', 'nosniff'],
      ...['Referrer-Policy', 'no-referrer', 'Cross-Origin-Opener-Policy', 'same-origin'],
      ...['Cross-Origin-Resource-Policy', 'same-origin'],
    ]
    const { ifNoneMatch } = call.fields
    if (ifNoneMatch !== undefined && hasTag(ifNoneMatch, tag)) call.reply(304, headers)
    else call.reply(200, headers, bytes)
  })
}
