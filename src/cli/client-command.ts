/** How kvcli reaches what kvd serves, with what it asks of clients: for banners to say. */
import { DEFAULT_USER } from '../net/index.ts'
import type { DaemonIo } from './daemon-io.ts'
import { PASSWORD_VARIABLE } from './password.ts'
import type { Settings } from './settings.ts'

export interface ClientCommand {
  readonly isSecure: boolean
  readonly asksForPassword: boolean
  /** Of the address: the scheme, and who asks where that must be said. */
  readonly urlStart: string
  /** Somebody's name is part of the address. */
  readonly namesUser: boolean
  /** What comes before the command: variables. */
  readonly variables: readonly string[]
}

export function clientCommand(settings: Settings, io: DaemonIo): ClientCommand {
  const { tlsCert, tlsCa, tlsClientAuth, usersFile, passwordFile, user } = settings
  const isSecure = tlsCert !== undefined
  const hasOwner = passwordFile !== undefined || (io.env[PASSWORD_VARIABLE] ?? '') !== ''
  const asksForPassword = hasOwner || usersFile !== undefined
  const namesUser = asksForPassword && !(hasOwner && user === DEFAULT_USER)
  const who = namesUser ? `${hasOwner ? user : '<user>'}@` : ''
  const needsCertificate = isSecure && tlsClientAuth === 'require'
  return {
    isSecure,
    asksForPassword,
    urlStart: `${isSecure ? 'kvs' : 'kv'}://${who}`,
    namesUser,
    variables: [
      ...(isSecure ? [`DURAMEN_TLS_CA=${tlsCa ?? '<ca.pem>'}`] : []),
      ...(needsCertificate ? ['DURAMEN_TLS_CERT=<cert.pem> DURAMEN_TLS_KEY=<key.pem>'] : []),
      ...(asksForPassword ? [`${PASSWORD_VARIABLE}=...`] : []),
    ],
  }
}
