/**
 * The names of the simulated disk: a tree of directories as programs see it now, the names that a
 * power loss would leave for certain, and the operations between the two, in order.
 *
 * Invariants:
 *  1. `live` = `durable` with all pending operations applied.
 *  2. Syncing a directory makes durable every operation that touches it, and with each the earlier
 *     ones on the same names, also in other directories: a rename happens in both or in none.
 *  3. Of the pending operations a power loss keeps any subset in which no operation stands without
 *     the earlier ones on its names.
 */
import type { Random } from '../../src/random.ts'
import { type CrashOptions, type MemoryInode, survives } from './memory-inode.ts'
import { systemError } from './system-error.ts'

export type MemoryNode = MemoryInode | MemoryDirectory
type Names = Map<string, MemoryNode>

export class MemoryDirectory {
  readonly kind = 'directory'
  readonly live: Names
  readonly durable: Names

  constructor(live: Names = new Map(), durable: Names = new Map()) {
    this.live = live
    this.durable = durable
  }
}

/** One name set (to a node) or removed. */
export interface NameChange {
  readonly directory: MemoryDirectory
  readonly name: string
  readonly node: MemoryNode | undefined
}

/** Changes that happen all or not at all. */
type NameOperation = readonly NameChange[]

export class MemoryNames {
  readonly root: MemoryDirectory
  #pending: NameOperation[]

  constructor(root = new MemoryDirectory(), pending: NameOperation[] = []) {
    this.root = root
    this.#pending = pending
  }

  /** The node at `path`; undefined when the last name of it is missing. */
  find(path: string, call: string): MemoryNode | undefined {
    const parts = partsOf(path)
    const name = parts.pop()
    if (name === undefined) return this.root
    return this.#walk(parts, call, path).live.get(name)
  }

  /** The file at `path`. */
  file(path: string, call: string): MemoryInode {
    const node = this.find(path, call)
    if (node === undefined) throw systemError('ENOENT', call, path)
    if (node.kind === 'directory') throw systemError('EISDIR', call, path)
    return node
  }

  directory(path: string, call: string): MemoryDirectory {
    return this.#walk(partsOf(path), call, path)
  }

  /** The directory that `path` lies in, and its name there. */
  place(path: string, call: string): { directory: MemoryDirectory; name: string } {
    const parts = partsOf(path)
    const name = parts.pop()
    if (name === undefined) throw systemError('EISDIR', call, path)
    return { directory: this.#walk(parts, call, path), name }
  }

  #walk(parts: readonly string[], call: string, path: string): MemoryDirectory {
    let directory = this.root
    for (const part of parts) {
      const node = directory.live.get(part)
      if (node === undefined) throw systemError('ENOENT', call, path)
      if (node.kind !== 'directory') throw systemError('ENOTDIR', call, path)
      directory = node
    }
    return directory
  }

  /** Applies the changes, as one operation that a crash can undo until a directory is synced. */
  change(operation: NameOperation): void {
    for (const change of operation) apply(change, change.directory.live)
    this.#pending.push(operation)
  }

  makeDirectory(path: string, call: string): void {
    let directory = this.root
    const parts = partsOf(path)
    for (const [depth, part] of parts.entries()) {
      const node = directory.live.get(part)
      if (node !== undefined && node.kind !== 'directory') {
        throw systemError(depth === parts.length - 1 ? 'EEXIST' : 'ENOTDIR', call, path)
      }
      if (node === undefined) {
        const made = new MemoryDirectory()
        this.change([{ directory, name: part, node: made }])
        this.sync(directory)
        directory = made
      } else {
        directory = node
      }
    }
  }

  sync(directory: MemoryDirectory): void {
    this.beginSync(directory)()
  }

  /** Announces a sync, which covers the operations so far, and returns what makes it happen. */
  beginSync(directory: MemoryDirectory): () => void {
    const covered = this.#touching(directory)
    return () => {
      for (const operation of this.#pending) {
        if (!covered.has(operation)) continue
        for (const change of operation) apply(change, change.directory.durable)
      }
      this.#pending = this.#pending.filter(operation => !covered.has(operation))
    }
  }

  /** The pending operations that a sync of the directory must cover. */
  #touching(directory: MemoryDirectory): Set<NameOperation> {
    const covered = new Set<NameOperation>()
    for (const operation of this.#pending.toReversed()) {
      const touches = operation.some(
        change =>
          change.directory === directory ||
          [...covered].some(later => later.some(other => sameName(change, other))),
      )
      if (touches) covered.add(operation)
    }
    return covered
  }

  /** Whether programs see the same names in both, and the same bytes behind them. */
  holdsSameAs(other: MemoryNames): boolean {
    return isSame(this.root, other.root, new Map())
  }

  /** The tree after the process was killed: every operation happened, and is as durable as now. */
  cloneAfterProcessCrash(cloneFile: (file: MemoryInode) => MemoryInode): MemoryNames {
    const clones = new Map<MemoryNode, MemoryNode>()
    const copy = (node: MemoryNode): MemoryNode => {
      const known = clones.get(node)
      if (known !== undefined) return known
      const clone = node.kind === 'directory' ? new MemoryDirectory() : cloneFile(node)
      clones.set(node, clone)
      if (node.kind === 'directory' && clone.kind === 'directory') {
        for (const [name, child] of node.live) clone.live.set(name, copy(child))
        for (const [name, child] of node.durable) clone.durable.set(name, copy(child))
      }
      return clone
    }
    const copyChange = ({ directory, name, node }: NameChange): NameChange => ({
      directory: copy(directory) as MemoryDirectory,
      name,
      node: node === undefined ? undefined : copy(node),
    })
    const pending = this.#pending.map(operation => operation.map(copyChange))
    return new MemoryNames(copy(this.root) as MemoryDirectory, pending)
  }

  /** The tree after a power loss. Nothing of the clone is pending. */
  cloneAfterPowerLoss(
    random: Random,
    options: CrashOptions,
    cloneFile: (file: MemoryInode) => MemoryInode,
  ): MemoryNames {
    const survivors = new Map<MemoryDirectory, Names>()
    const lost: NameChange[] = []
    for (const operation of this.#pending) {
      const stands = !operation.some(change => lost.some(other => sameName(change, other)))
      if (!stands || !survives(random, options)) {
        lost.push(...operation)
        continue
      }
      for (const change of operation) {
        let names = survivors.get(change.directory)
        if (names === undefined) {
          names = new Map(change.directory.durable)
          survivors.set(change.directory, names)
        }
        apply(change, names)
      }
    }
    const files = new Map<MemoryInode, MemoryInode>()
    // A file with several names is still one file.
    const copyFile = (file: MemoryInode): MemoryInode => {
      const clone = files.get(file) ?? cloneFile(file)
      files.set(file, clone)
      return clone
    }
    const copy = (directory: MemoryDirectory): MemoryDirectory => {
      const names: Names = new Map()
      for (const [name, node] of survivors.get(directory) ?? directory.durable) {
        names.set(name, node.kind === 'directory' ? copy(node) : copyFile(node))
      }
      return new MemoryDirectory(names, new Map(names))
    }
    return new MemoryNames(copy(this.root))
  }
}

/** `pairs` are the files that were found to be the same: one with two names is so in both trees. */
function isSame(one: MemoryNode, other: MemoryNode, pairs: Map<MemoryNode, MemoryNode>): boolean {
  if (one.kind === 'file' || other.kind === 'file') {
    if (one.kind !== 'file' || other.kind !== 'file') return false
    const known = pairs.get(one)
    if (known !== undefined || pairs.has(other)) return known === other
    pairs.set(one, other).set(other, one)
    return one.holdsSameAs(other)
  }
  if (one.live.size !== other.live.size) return false
  for (const [name, node] of one.live) {
    const like = other.live.get(name)
    if (like === undefined || !isSame(node, like, pairs)) return false
  }
  return true
}

function partsOf(path: string): string[] {
  return path.split('/').filter(part => part !== '' && part !== '.')
}

function sameName(a: NameChange, b: NameChange): boolean {
  return a.directory === b.directory && a.name === b.name
}

function apply(change: NameChange, names: Names): void {
  if (change.node === undefined) names.delete(change.name)
  else names.set(change.name, change.node)
}
