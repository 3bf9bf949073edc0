/**
 * One cursor over several: all their entries in internal order.
 *
 * The children stand in a binary heap by the entry they show, the next one to deliver at the root.
 * Each child's first key bytes are kept as a number beside it, so that most comparisons are of two
 * numbers. When a child moves and still comes before the others, two comparisons tell.
 *
 * Invariants:
 *  1. No two children hold the same (key, sequence).
 *  2. In forward direction all children but the root stand behind the root's entry; in reverse all
 *     stand before it. A change of direction positions them anew.
 *  3. After an error of a child, BlockMiss included, the cursor is not valid until a seek.
 */
import { assert } from '../assert.ts'
import { compareRanges } from '../bytes.ts'
import { Cursor } from './cursor.ts'

/** The cheapest cursor over all entries of `children`: none, the only one, or a merge. */
export function mergeCursors(children: readonly Cursor[]): Cursor {
  return children.length === 1 ? children[0]! : new MergingCursor(children)
}

class MergingCursor extends Cursor {
  readonly #children: readonly Cursor[]
  /** The valid children; a heap once `#arrange` ran. */
  readonly #heap: Cursor[]
  /** By place in the heap: the head of the child's key. */
  readonly #heads: Float64Array
  #size = 0
  #isReverse = false

  constructor(children: readonly Cursor[]) {
    super()
    this.#children = children
    this.#heap = [...children]
    this.#heads = new Float64Array(children.length)
  }

  override seekToFirst(): void {
    this.valid = false
    for (const child of this.#children) child.seekToFirst()
    this.#arrange(false)
  }

  override seekToLast(): void {
    this.valid = false
    for (const child of this.#children) child.seekToLast()
    this.#arrange(true)
  }

  override seek(key: Uint8Array, keyStart: number, keyEnd: number, sequence: number): void {
    this.valid = false
    for (const child of this.#children) child.seek(key, keyStart, keyEnd, sequence)
    this.#arrange(false)
  }

  override seekOnward(key: Uint8Array, keyStart: number, keyEnd: number, sequence: number): void {
    assert(!this.#isReverse, 'onward is forward')
    this.valid = false
    for (const child of this.#children) child.seekOnward(key, keyStart, keyEnd, sequence)
    this.#arrange(false)
  }

  override next(): void {
    assert(this.valid, 'only a valid cursor moves')
    this.valid = false
    const root = this.#heap[0]!
    if (this.#isReverse) {
      this.#turnForward(root)
      return
    }
    root.next()
    this.#replaceRoot(root)
  }

  override prev(): void {
    assert(this.valid, 'only a valid cursor moves')
    this.valid = false
    const root = this.#heap[0]!
    if (!this.#isReverse) {
      this.#turnReverse(root)
      return
    }
    root.prev()
    this.#replaceRoot(root)
  }

  /** All other children stand before the root's entry: moves them and it behind that entry. */
  #turnForward(root: Cursor): void {
    for (const child of this.#children) {
      if (child !== root) child.seek(root.keyBytes, root.keyStart, root.keyEnd, root.sequence)
    }
    root.next()
    this.#arrange(false)
  }

  /** All other children stand behind the root's entry: moves them and it before that entry. */
  #turnReverse(root: Cursor): void {
    for (const child of this.#children) {
      if (child === root) continue
      child.seek(root.keyBytes, root.keyStart, root.keyEnd, root.sequence)
      if (child.valid) child.prev()
      else child.seekToLast()
    }
    root.prev()
    this.#arrange(true)
  }

  /** Makes a heap of the valid children and shows its root. */
  #arrange(isReverse: boolean): void {
    this.#isReverse = isReverse
    const heap = this.#heap
    let size = 0
    for (const child of this.#children) {
      if (!child.valid) continue
      heap[size] = child
      this.#heads[size] = keyHead(child)
      size++
    }
    this.#size = size
    for (let place = (size >>> 1) - 1; place >= 0; place--) this.#sink(place, heap[place]!)
    this.#showRoot()
  }

  /** Restores the heap after the root moved. */
  #replaceRoot(root: Cursor): void {
    if (this.#size === 1) {
      // The usual end of a merge: only one child is left, or only one ever had something.
      if (!root.valid) this.#size = 0
    } else if (root.valid) {
      this.#heads[0] = keyHead(root)
      this.#sink(0, root)
    } else {
      this.#size--
      if (this.#size > 0) {
        this.#heads[0] = this.#heads[this.#size]!
        this.#sink(0, this.#heap[this.#size]!)
      }
    }
    this.#showRoot()
  }

  /** Puts `child`, whose head stands at `place`, there or below, where the order wants it. */
  #sink(place: number, child: Cursor): void {
    const heap = this.#heap
    const heads = this.#heads
    const size = this.#size
    const head = heads[place]!
    let at = place
    for (;;) {
      let below = 2 * at + 1
      if (below >= size) break
      const other = below + 1
      if (other < size && this.#isFirst(heap[other]!, heads[other]!, heap[below]!, heads[below]!)) {
        below = other
      }
      if (this.#isFirst(child, head, heap[below]!, heads[below]!)) break
      heap[at] = heap[below]!
      heads[at] = heads[below]!
      at = below
    }
    heap[at] = child
    heads[at] = head
  }

  /** Whether child `a` delivers its entry before `b` does, in the direction of travel. */
  #isFirst(a: Cursor, aHead: number, b: Cursor, bHead: number): boolean {
    const difference =
      aHead - bHead ||
      compareRanges(a.keyBytes, a.keyStart, a.keyEnd, b.keyBytes, b.keyStart, b.keyEnd) ||
      b.sequence - a.sequence
    return this.#isReverse ? difference > 0 : difference < 0
  }

  #showRoot(): void {
    this.valid = this.#size > 0
    if (!this.valid) return
    const root = this.#heap[0]!
    this.keyBytes = root.keyBytes
    this.keyStart = root.keyStart
    this.keyEnd = root.keyEnd
    this.sequence = root.sequence
    this.kind = root.kind
    this.valueBytes = root.valueBytes
    this.valueStart = root.valueStart
    this.valueEnd = root.valueEnd
  }
}

/** The first six bytes of the key as a number that sorts like them; short keys end in zeros. */
function keyHead(cursor: Cursor): number {
  const { keyBytes, keyStart, keyEnd } = cursor
  if (keyEnd - keyStart >= 6) {
    return (
      ((keyBytes[keyStart]! << 16) | (keyBytes[keyStart + 1]! << 8) | keyBytes[keyStart + 2]!) *
        0x100_0000 +
      ((keyBytes[keyStart + 3]! << 16) | (keyBytes[keyStart + 4]! << 8) | keyBytes[keyStart + 5]!)
    )
  }
  let head = 0
  for (let index = keyStart; index < keyStart + 6; index++) {
    head = head * 256 + (index < keyEnd ? keyBytes[index]! : 0)
  }
  return head
}
