/** What all conversations with Redis clients on one server share. */
import type { Random } from '../../random.ts'
import type { Conversation, ConversationSink, ServerProtocol } from '../conversation.ts'
import type { LoadKind } from '../load-meter.ts'
import type { ServerContext } from '../server-context.ts'
import { CLIENT_LIST_COMMANDS } from './client-list.ts'
import { COMMAND_COMMANDS } from './command-commands.ts'
import { CommandTable } from './command-table.ts'
import { CONFIG_COMMANDS } from './config-commands.ts'
import { CONNECTION_COMMANDS } from './connection-commands.ts'
import { COUNTER_COMMANDS } from './counter-commands.ts'
import { DbSize } from './db-size.ts'
import { EXPIRY_COMMANDS } from './expiry-commands.ts'
import { KEY_COMMANDS } from './key-commands.ts'
import { RESP_OPERATION_NAMES, RespOperation } from './resp-operation.ts'
import { RespSession } from './resp-session.ts'
import { SCAN_COMMANDS } from './scan-commands.ts'
import { ScanCursors } from './scan-cursors.ts'
import { SERVER_COMMANDS } from './server-commands.ts'
import { SlowLog } from './slow-log.ts'
import { SLOW_LOG_COMMANDS } from './slow-log-commands.ts'
import { STRING_COMMANDS } from './string-commands.ts'
import { TRANSACTION_COMMANDS } from './transaction-commands.ts'

const RUN_ID_BYTES = 20
/** The rate of commands is over the last whole one of these. */
const RATE_WINDOW_MS = 1000

export class RespDoor implements ServerProtocol {
  readonly table = new CommandTable([
    ...STRING_COMMANDS,
    ...COUNTER_COMMANDS,
    ...KEY_COMMANDS,
    ...EXPIRY_COMMANDS,
    ...SCAN_COMMANDS,
    ...TRANSACTION_COMMANDS,
    ...CONNECTION_COMMANDS,
    ...CLIENT_LIST_COMMANDS,
    ...SERVER_COMMANDS,
    ...CONFIG_COMMANDS,
    ...SLOW_LOG_COMMANDS,
    ...COMMAND_COMMANDS,
  ])
  readonly random: Random
  readonly cursors: ScanCursors
  readonly slowLog = new SlowLog()
  readonly dbSize = new DbSize()
  readonly sessions = new Map<number, RespSession>()
  /** Names this process to clients. */
  readonly runId: string
  /** In monotonic milliseconds. */
  readonly startedMs: number
  commandsTotal = 0
  readonly #counts = new Map<string, number>()
  #sessionsTotal = 0
  #rate = { startMs: 0, startCount: 0, perSecond: 0 }

  constructor(random: Random, startedMs = 0) {
    this.random = random
    this.startedMs = startedMs
    this.cursors = new ScanCursors(limit => random.below(limit))
    this.runId = Buffer.from(random.bytes(RUN_ID_BYTES)).toString('hex')
  }

  converse(context: ServerContext, sink: ConversationSink, nowMs: number): Conversation {
    const id = ++this.#sessionsTotal
    const session = new RespSession(this, context, sink, nowMs, id)
    this.sessions.set(id, session)
    return session
  }

  closed(session: RespSession): void {
    this.sessions.delete(session.id)
  }

  countCommand(name: string): void {
    this.commandsTotal++
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1)
  }

  operationName(operation: number): string {
    return RESP_OPERATION_NAMES[operation] ?? 'other'
  }

  kindOf(operation: number): LoadKind | undefined {
    if (operation === RespOperation.read) return 'read'
    return operation === RespOperation.write ? 'write' : undefined
  }

  requestsByName(): Record<string, number> {
    return Object.fromEntries(this.#counts)
  }

  /** Over the last window that is complete, looked at no more often than that. */
  commandsPerSecond(nowMs: number): number {
    const { startMs, startCount, perSecond } = this.#rate
    const elapsedMs = nowMs - startMs
    if (elapsedMs < RATE_WINDOW_MS) return perSecond
    const rate = Math.round(((this.commandsTotal - startCount) * 1000) / elapsedMs)
    this.#rate = { startMs: nowMs, startCount: this.commandsTotal, perSecond: rate }
    return rate
  }
}
