/** What a client of the proxy is told of an error from a node: nearly always the error itself. */
import { AuthenticationError, type KvError, toError, UnavailableError } from '../../errors.ts'

const NOT_LET_IN =
  'the nodes do not let this proxy in: it needs a user and password of theirs (kvd proxy: ' +
  '--nodes-user, --nodes-password-file)'

/** A node that does not let the proxy in says nothing about who asks the proxy. */
export function fromNode(error: unknown): Error {
  if (!(error instanceof AuthenticationError)) return toError(error)
  return new UnavailableError(NOT_LET_IN, { cause: error })
}

/** The same for whoever starts the proxy, who can do something about it. */
export function refusalByNodes(error: KvError): KvError {
  if (!(error instanceof AuthenticationError)) return error
  return new AuthenticationError(`${NOT_LET_IN}: ${error.message}`, { cause: error })
}
