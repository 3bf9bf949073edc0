/** From a parsed request to its route: who may enter, which path, which method. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Access } from '../auth/index.ts'
import type { CallResponse, RequestBody, RequestHead } from './call-parts.ts'
import type { WholeRequest } from './direct-request.ts'
import type { DirectResponse } from './direct-response.ts'
import { checkEntry, checkHost } from './entry-check.ts'
import { HttpCall } from './http-call.ts'
import type { HttpConnection } from './http-connection.ts'
import type { HttpContext } from './http-context.ts'
import { errorReply, HttpError } from './http-error.ts'
import { shown, splitTarget, type Target } from './request-target.ts'
import { findPath, type Path } from './routes.ts'

export class HttpDispatch {
  readonly #context: HttpContext

  constructor(context: HttpContext) {
    this.#context = context
  }

  /** Throws nothing. */
  handle(
    connection: HttpConnection | undefined,
    request: IncomingMessage,
    response: ServerResponse,
    expectsContinue: boolean,
  ): void {
    const call = this.#beginParsed(connection, request, response)
    if (call === undefined) return
    call.expectsContinue = expectsContinue
    this.#serve(call)
  }

  /** The same for a request that came whole. */
  handleWhole(connection: HttpConnection, request: WholeRequest, response: DirectResponse): void {
    const call = this.#begin(connection, request.head, request.body, response)
    if (call !== undefined) this.#serve(call)
  }

  #serve(call: HttpCall): void {
    try {
      this.#route(call)
    } catch (error) {
      call.fail(error)
    }
  }

  /** Answers a request that expects something that nobody can do. */
  refuseExpectation(
    connection: HttpConnection | undefined,
    request: IncomingMessage,
    response: ServerResponse,
  ): void {
    const message = 'nothing but 100-continue can be expected'
    this.#beginParsed(connection, request, response)?.fail(
      new HttpError('HTTP_EXPECTATION_FAILED', message),
    )
  }

  /** Undefined when it was answered, or nobody is there. */
  #beginParsed(
    connection: HttpConnection | undefined,
    request: IncomingMessage,
    response: ServerResponse,
  ): HttpCall | undefined {
    if (connection === undefined) {
      // The socket closed with this request still in the parser.
      response.destroy()
      return undefined
    }
    connection.lastResponse = response
    return this.#begin(connection, request, request, response)
  }

  #begin(
    connection: HttpConnection,
    head: RequestHead,
    body: RequestBody,
    response: CallResponse,
  ): HttpCall | undefined {
    try {
      return new HttpCall(this.#context, connection, head, body, response)
    } catch (error) {
      const { status, code, headers, body } = errorReply(error)
      this.#context.stats.countError(code)
      response.shouldKeepAlive = false
      response.writeHead(status, [...headers, 'Content-Length', String(body.length)])
      response.end(body)
      return undefined
    }
  }

  #route(call: HttpCall): void {
    const { connection, context, request } = call
    if (connection.isRefused) {
      throw context.admission.overloaded(`${context.limits.connectionsMax} connections are open`)
    }
    const target = splitTarget(request.url ?? '')
    const found = findPath(target.path)
    if (found?.isOpen === true) {
      checkHost(call, !context.doorkeeper.asksForPassword)
      this.#enter(call, target, found)
      return
    }
    const admitted = checkEntry(call)
    const enter = (access: Access): void => {
      call.access = access
      this.#enter(call, target, found)
    }
    if (admitted instanceof Promise) call.answer(admitted, enter)
    else enter(admitted)
  }

  /** Whoever asks may. */
  #enter(call: HttpCall, target: Target, found: Path | undefined): void {
    if (found === undefined) {
      const message = `there is nothing at ${shown(target.path)}; /v1/openapi.json lists what is`
      throw new HttpError('HTTP_NO_SUCH_PATH', message)
    }
    const route = found.methods[call.method]
    if (route === undefined) throw methodNotAllowed(found, call.method)
    call.operation = route.operation
    // A body that nobody reads is dropped. Said late, node:http would find out by itself, with a
    // listener and a turn more.
    if (route.takesBody !== true && !(call.body instanceof Uint8Array)) call.body.resume()
    route.answer(call, target)
  }
}

function methodNotAllowed({ path, methods }: Path, method: string): HttpError {
  const allowed = Object.keys(methods).join(', ')
  const message = `${path} takes ${allowed}, not ${shown(method)}`
  return new HttpError('HTTP_METHOD_NOT_ALLOWED', message, ['Allow', allowed])
}
