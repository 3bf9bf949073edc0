/**
 * The test runner of Node without its watch over every promise.
 *
 * The runner has async hooks follow each promise from its creation until it is collected, to know
 * the test that a call or an error comes from: a third of the time of tests that simulate whole
 * clusters, and of their garbage. Here it hears of its own tests alone, as their constructor runs,
 * which is all that `describe` needs to find its suite. An error that nobody caught ends the
 * process instead: the run fails, with the error's stack, though without the name of its test.
 */
import asyncHooks, { type AsyncHook, AsyncResource, type HookCallbacks } from 'node:async_hooks'
import { writeSync } from 'node:fs'
import type { test } from 'node:test'
import { inspect } from 'node:util'

/** One here, one of the runner. Others, as those of the simulation, deal with an error. */
const OWN_LISTENERS = 2

/** What the runner asked to be told. */
let callbacks: HookCallbacks | undefined
let isEnabled = false
let tests = 0

/** Tells the runner of itself. */
class ToldResource extends AsyncResource {
  constructor(...args: ConstructorParameters<typeof AsyncResource>) {
    super(...args)
    if (!isEnabled) return
    tests++
    callbacks?.init?.(this.asyncId(), args[0], this.triggerAsyncId(), this)
  }
}

const hook: AsyncHook = {
  enable: () => {
    isEnabled = true
    return hook
  },
  disable: () => {
    isEnabled = false
    return hook
  },
}

function createHook(wanted: HookCallbacks): AsyncHook {
  callbacks = wanted
  return hook
}

/** In place of node:test, and before anything else imports it in this process. */
export async function importTestRunner(): Promise<typeof test> {
  const original = { createHook: asyncHooks.createHook, AsyncResource }
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    process.on(event, (error: unknown) => {
      if (process.listenerCount(event) <= OWN_LISTENERS) die(error)
    })
  }
  Object.assign(asyncHooks, { createHook, AsyncResource: ToldResource })
  try {
    return (await import('node:test')).test
  } finally {
    Object.assign(asyncHooks, original)
  }
}

/** After the first test: throws where a runner has other ways, which would lose tests. */
export function checkTestRunner(): void {
  if (callbacks !== undefined && tests === 0) {
    throw new Error('this node:test does not say which test runs: import it without these hooks')
  }
}

function die(error: unknown): void {
  writeSync(process.stderr.fd, `nobody caught ${inspect(error)}\n`)
  process.exit(1)
}
