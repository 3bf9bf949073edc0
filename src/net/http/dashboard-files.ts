/**
 * The files of the dashboard: HTML, CSS and modules as browsers take them, and the library that
 * draws the plots, out of its own package. Read when first asked for, and kept.
 *
 * They lie in src, which the npm package has as well, so nothing is built or copied. The way there
 * is from the package's root: this module may be bundled into a program that lies elsewhere.
 */
import { readFile } from 'node:fs/promises'
import { xxh32 } from '../../hash.ts'

const PAGE = new URL('src/net/http/dashboard/', import.meta.resolve('duramen/package.json'))
/** For this the HTML is asked. */
const INDEX = 'index.html'
const TYPES = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
} as const

const OWN_FILES = [
  INDEX,
  'dashboard.css',
  'icon.svg',
  'main.js',
  'api.js',
  'cluster-view.js',
  'dom.js',
  'events-view.js',
  'format.js',
  'key-bytes.js',
  'keys-view.js',
  'load-view.js',
  'ring-view.js',
  'storage-view.js',
] as const

/** Name -> file of a package. */
const PACKAGE_FILES: Readonly<Record<string, string>> = {
  'uplot.js': 'uplot/dist/uPlot.iife.min.js',
  'uplot.css': 'uplot/dist/uPlot.min.css',
}

/** All that there are. */
export const DASHBOARD_FILES: readonly string[] = [...OWN_FILES, ...Object.keys(PACKAGE_FILES)]

export interface DashboardFile {
  readonly bytes: Uint8Array
  readonly type: string
  /** Changes with the bytes. */
  readonly tag: string
}

export class DashboardFiles {
  readonly #files = new Map<string, Promise<DashboardFile>>()

  /** `name` is one of DASHBOARD_FILES, or empty for the page. Rejects where it is not installed. */
  read(name: string): Promise<DashboardFile> {
    const known = name === '' ? INDEX : name
    let file = this.#files.get(known)
    if (file === undefined) {
      file = load(known)
      this.#files.set(known, file)
    }
    return file
  }
}

async function load(name: string): Promise<DashboardFile> {
  const specifier = PACKAGE_FILES[name]
  const url = specifier === undefined ? new URL(name, PAGE) : import.meta.resolve(specifier)
  const bytes = await readFile(new URL(url))
  const hash = xxh32(bytes, 0, bytes.length, 0).toString(16).padStart(8, '0')
  const type = TYPES[name.split('.').at(-1) as keyof typeof TYPES]
  return { bytes, type, tag: `"${hash}"` }
}
