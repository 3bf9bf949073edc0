/** What a client of the proxy is told of an error from a node: nearly always the error itself. */
import { AuthenticationError, toError, UnavailableError } from '../../errors.ts'

/** A node that does not let the proxy in says nothing about who asks the proxy. */
export function fromNode(error: unknown): Error {
  if (!(error instanceof AuthenticationError)) return toError(error)
  return new UnavailableError(
    'the nodes do not let this proxy in: it needs a user and password of theirs (kvd proxy: ' +
      '--nodes-user, --nodes-password-file)',
    { cause: error },
  )
}
