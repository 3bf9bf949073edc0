/** The project's own files, for the lint tests. */
import { readdirSync, readFileSync } from 'node:fs'
import { join, sep } from 'node:path'
import { ROOT } from './project-root.ts'
import { type SourceText, sourceText } from './source-text.ts'

const SOURCE_PATTERN = /\.[cm]?ts$/

/** Paths below `folder`, relative to the project's root, with '/'; nothing built or installed. */
function pathsBelow(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .map(path => join(folder, path).split(sep).join('/'))
    .filter(path => !/(?:^|\/)(?:node_modules|dist|output|coverage)(?:\/|$)/.test(path))
}

export function readProjectFile(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8')
}

/** The TypeScript files of src, test and bench. */
export function readSources(): SourceText[] {
  return ['src', 'test', 'bench']
    .flatMap(pathsBelow)
    .filter(path => SOURCE_PATTERN.test(path))
    .map(path => sourceText(path, readProjectFile(path)))
}

/** Paths of the Markdown files: those at the root and those in src, test and bench. */
export function markdownPaths(): string[] {
  const atRoot = readdirSync(ROOT)
  return [...atRoot, ...['src', 'test', 'bench'].flatMap(pathsBelow)].filter(path =>
    path.endsWith('.md'),
  )
}
