/**
 * Commands between MULTI and EXEC. They are kept until EXEC runs them all in one atomic update.
 *
 * Invariant: what is kept is charged to the budget for input, and bounded as one command is.
 */
import type { Share } from '../admission.ts'
import type { ServerLimits } from '../limits.ts'
import { keysOf } from './command.ts'
import type { CommandArguments } from './command-arguments.ts'
import type { Command } from './command-table.ts'
import { distinctKeys } from './key-view.ts'
import { CommandError } from './reply.ts'

const COMMANDS_MAX = 16_384

export interface QueuedCommand {
  readonly command: Command
  readonly args: CommandArguments
}

export class Transaction {
  readonly commands: QueuedCommand[] = []
  /** True once a command could not be queued: EXEC refuses. */
  isBroken = false
  readonly #limits: ServerLimits
  readonly #share: Share
  #bytes = 0

  constructor(limits: ServerLimits, share: Share) {
    this.#limits = limits
    this.#share = share
  }

  /** Throws CommandError for what cannot be part of it. */
  queue(command: Command, args: CommandArguments): void {
    if (!('apply' in command) && command.isInstant !== true) {
      throw new CommandError(`ERR '${command.name}' is not offered inside a transaction`)
    }
    const { frameSizeMax } = this.#limits
    const isTooMuch = this.#bytes + args.size > frameSizeMax || this.commands.length >= COMMANDS_MAX
    if (isTooMuch) {
      throw new CommandError(
        `ERR a transaction has at most ${COMMANDS_MAX} commands and ${frameSizeMax} bytes`,
      )
    }
    if (!this.#share.reserve(args.size)) {
      throw new CommandError('KV_OVERLOADED no memory for more commands of a transaction')
    }
    this.#bytes += args.size
    this.commands.push({ command, args: args.detached() })
  }

  /** All keys that it touches, each once. */
  keys(): readonly Uint8Array[] {
    const keys: Uint8Array[] = []
    for (const { command, args } of this.commands) {
      if ('apply' in command) keys.push(...keysOf(command.keys, args))
    }
    return distinctKeys(keys)
  }

  dispose(): void {
    this.#share.release(this.#bytes)
    this.#bytes = 0
    this.commands.length = 0
  }
}
