/**
 * A process for the tests of the directory lock.
 *
 *   lock-child hold <directory>           takes the lock, prints `locked`, waits for the end of its
 *                                         input, releases
 *   lock-child starve <directory>         takes the lock, uses up all file descriptors, and prints
 *                                         what verifying the lock comes to, what it does once
 *                                         another LOCK lies there, and what releasing did to that
 *   lock-child race <directory> <count>   prints `ready`, waits for the end of its input, and takes
 *                                         the lock so many times; each time it makes sure that it
 *                                         is alone and then leaves LOCK as a dead process would
 */
import { once } from 'node:events'
import {
  existsSync,
  openSync,
  readlinkSync,
  renameSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { yieldToEventLoop } from '../../src/clock.ts'
import { lockDirectorySync } from '../../src/engine/directory-lock.ts'
import { joinPath, systemErrorCode } from '../../src/engine/file-system.ts'
import { LockedError } from '../../src/errors.ts'
import { deadHolder } from './lock-file.ts'

function report(text: string): void {
  process.stdout.write(`${text}\n`)
}

function hold(directory: string): void {
  const lock = lockDirectorySync(directory)
  report('locked')
  process.stdin.resume()
  process.stdin.on('end', () => lock.releaseSync())
}

/** Run it with a small limit of open files. */
function starve(directory: string): void {
  const path = joinPath(directory, 'LOCK')
  const other = joinPath(directory, 'other')
  const lock = lockDirectorySync(directory)
  writeFileSync(other, deadHolder())
  const outcome = (): string => {
    try {
      lock.verifySync()
      return 'held'
    } catch (error) {
      return (error as { code: string }).code
    }
  }
  useUpFiles()
  const outcomes = [outcome()]
  renameSync(other, path)
  outcomes.push(outcome())
  lock.releaseSync()
  outcomes.push(existsSync(path) ? 'left' : 'removed')
  unlinkSync(path)
  report(outcomes.join(' '))
}

function useUpFiles(): void {
  for (;;) {
    try {
      openSync('/dev/null', 'r')
    } catch (error) {
      if (systemErrorCode(error) === 'EMFILE') return
      throw error
    }
  }
}

async function race(directory: string, count: number): Promise<void> {
  report('ready')
  process.stdin.resume()
  await once(process.stdin, 'end')
  for (let done = 0; done < count; ) {
    try {
      const lock = lockDirectorySync(directory)
      beAlone(joinPath(directory, 'alone'))
      lock.verifySync()
      abandon(directory)
      done++
    } catch (error) {
      if (!(error instanceof LockedError)) throw error
    }
    await yieldToEventLoop()
  }
  report('done')
}

/** Throws when another live process is in here at the same time. The marker names its owner. */
function beAlone(marker: string): void {
  for (;;) {
    try {
      symlinkSync(`${process.pid}`, marker)
      break
    } catch (error) {
      if (systemErrorCode(error) !== 'EEXIST') throw error
    }
    // Only an owner that was killed in here may have left its marker.
    const owner = Number(readlinkSync(marker))
    const waiter = new Int32Array(new SharedArrayBuffer(4))
    for (let attempt = 0; isRunning(owner); attempt++) {
      if (attempt === 200) throw new Error(`process ${owner} has the lock as well`)
      Atomics.wait(waiter, 0, 0, 10)
    }
    unlinkSync(marker)
  }
  unlinkSync(marker)
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    if (systemErrorCode(error) === 'ESRCH') return false
    throw error
  }
}

function abandon(directory: string): void {
  const temporaryPath = joinPath(directory, `abandoned-${process.pid}`)
  writeFileSync(temporaryPath, deadHolder())
  renameSync(temporaryPath, joinPath(directory, 'LOCK'))
}

const [mode, directory, count] = process.argv.slice(2)
if (mode === 'hold' && directory !== undefined) hold(directory)
else if (mode === 'starve' && directory !== undefined) starve(directory)
else if (mode === 'race' && directory !== undefined) await race(directory, Number(count))
else throw new Error('usage: lock-child hold|starve|race <directory> [<count>]')
