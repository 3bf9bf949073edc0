/**
 * Where the project is, for tests that read its files, start its programs or import its modules by
 * name. Tests run from the sources, one by one, or, as `npm test` has it, compiled into
 * test/output/suite, where no process and no thread waits for a loader of TypeScript.
 */
import { fileURLToPath } from 'node:url'

export const IS_COMPILED = import.meta.url.endsWith('.js')
/** Of the modules that run: the project's own root, or that of the compiled copy. */
const RUNNING_ROOT = new URL('../../', import.meta.url)
const ROOT_URL = new URL(IS_COMPILED ? '../../../' : './', RUNNING_ROOT)

export const ROOT = fileURLToPath(ROOT_URL)

/** Of a file or folder of the project, relative to its root. */
export function projectUrl(path: string): URL {
  return new URL(path, ROOT_URL)
}

/** Of a source file, in the form in which this one runs. */
export function moduleUrl(path: string): URL {
  return new URL(IS_COMPILED ? path.replace(/ts$/, 'js') : path, RUNNING_ROOT)
}

/** Arguments for Node that let a process read modules in the form in which this one runs. */
export const LOADER_ARGUMENTS: readonly string[] = IS_COMPILED
  ? []
  : ['--import', import.meta.resolve('tsx')]

/** Arguments for Node that run a source file in a process of its own. */
export function moduleArguments(path: string): string[] {
  return [...LOADER_ARGUMENTS, fileURLToPath(moduleUrl(path))]
}

/** Arguments for Node that start a program; compiled, it is bundled as it is published. */
export function programArguments(program: 'kvd' | 'kvcli'): string[] {
  if (!IS_COMPILED) return moduleArguments(`src/cli/${program}.cts`)
  return [fileURLToPath(new URL(`src/program/${program}.cjs`, RUNNING_ROOT))]
}
