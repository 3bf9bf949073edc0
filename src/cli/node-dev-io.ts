/** DevIo of this process: nodes as child processes, files and ports of this machine. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { tcpAcceptor } from '../net/index.ts'
import { secureBytes } from '../random.ts'
import type { DevIo, DevProcess } from './dev-io.ts'
import { nodeCliFiles } from './node-cli-files.ts'
import { isAlive, sendSignal } from './node-process.ts'
import { STOP_WITH_PARENT_VARIABLE } from './parent-watch.ts'

const HOST = '127.0.0.1'
const SECRET_SIZE = 32

export function nodeDevIo(): DevIo {
  return {
    pid: process.pid,
    files: nodeCliFiles(),
    spawnNode,
    isPortFree,
    isAlive,
    createSecret: () => Buffer.from(secureBytes(SECRET_SIZE)).toString('hex'),
  }
}

/** This program, however it was started: compiled, or from its sources. */
function spawnNode(args: readonly string[]): DevProcess {
  const [, program = ''] = process.argv
  const child = spawn(process.execPath, [...process.execArgv, program, ...args], {
    // A process group of its own: Ctrl-C reaches this process alone, which stops the others.
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, [STOP_WITH_PARENT_VARIABLE]: '1' },
  })
  const lines = createInterface({ input: child.stderr })
  return {
    pid: child.pid,
    kill: signal => sendSignal(child.pid, signal),
    onLine: listener => void lines.on('line', listener),
    onExit: listener => {
      let failure: string | undefined
      child.once('error', error => {
        failure = error.message
        if (child.pid === undefined) listener(failure)
      })
      child.once('close', (code, signal) => {
        if (child.pid !== undefined) listener(failure ?? signal ?? `code ${code}`)
      })
    },
  }
}

async function isPortFree(port: number): Promise<boolean> {
  const listen = { host: HOST, port, keepAliveMs: 0, failed: () => undefined }
  try {
    const listening = await tcpAcceptor().listen(listen, () => undefined)
    await listening.close()
    return true
  } catch (error) {
    if (error instanceof Error) return false
    throw error
  }
}
