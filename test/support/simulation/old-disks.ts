/**
 * Nodes that are started with an image of their disk of before their last start. Nobody may serve
 * by such a copy; in the end the disk itself comes back, or it is lost for good and the operator
 * takes the copy back.
 *
 *   image taken, node killed --a new life, the last of it without clients--> power lost, the image
 *     in the place of the disk --refused--> the disk again, or the image, readmitted
 *
 * Of three nodes, every second time, one other knows of the new life by hearsay alone, and lacks
 * what was written in the end of it; who has met it is away while the image is there.
 *
 * Invariants:
 *  1. While the image is there it can reach somebody who knows better: else it serves, as it must.
 *  2. What is lost with a disk others have: it took no writes for a while before, and hours that
 *     are leapt over are no such while.
 */
import type { MemoryFileSystem } from '../memory-file-system.ts'
import type { MachineWorld } from './machine.ts'
import type { SimNode } from './sim-node.ts'
import type { Violations } from './violations.ts'

/** After the image was taken the node goes on for so long, with another start. */
const NEW_LIFE_MS = 6000
/** Who serves by then, and still does a second later, has been heard of by all who hear at all. */
const HEARD_FROM_MS = 2500
const HEARD_MS = 3500
/** The end of it, in which no client reaches the node. */
const QUIET_MS = 1000

type Phase = 'none' | 'new life' | 'old disk' | 'old disk, known to one'

export interface OldDisksOptions {
  readonly world: MachineWorld
  readonly nodes: readonly SimNode[]
  readonly clients: readonly string[]
  readonly violations: Violations
  /** What `kvcli debug readmit` makes of a disk. */
  readonly readmit: (disk: MemoryFileSystem, wallMs: number) => Promise<MemoryFileSystem>
  /** Calls back after a while that is drawn, unless all was repaired before. */
  readonly later: (undo: () => void) => void
  readonly cutOff: (one: string, others: readonly string[]) => void
  /** Mends the network. */
  readonly mend: () => void
}

export class OldDisks {
  readonly #options: OldDisksOptions
  /** The node with an old disk, and its own. */
  #takenOut: { readonly node: SimNode; readonly disk: MemoryFileSystem } | undefined
  #phase: Phase = 'none'
  #sinceMs = 0
  #begun = 0
  /** Begins and ends so often: what was to come later does not come any more. */
  #rounds = 0

  constructor(options: OldDisksOptions) {
    this.#options = options
  }

  /**
   * Whether the node may be killed or cut off without anything coming of it that is allowed then:
   * one at a time of those that know better, once all of them do.
   */
  mayHarm(node: SimNode, isCut: boolean): boolean {
    const { nodes, world } = this.#options
    if (this.#phase === 'none') return true
    if (this.#phase !== 'old disk' || isCut || nodes.length < 3) return false
    if (world.scheduler.nowMs - this.#sinceMs < QUIET_MS) return false
    const old = this.#takenOut?.node
    return node !== old && nodes.every(other => other === old || other.node !== undefined)
  }

  begin(node: SimNode, isCut: boolean): void {
    const { nodes } = this.#options
    const isCalm = nodes.every(({ node: other }) => other?.ring.members.length === nodes.length)
    if (!isCalm || isCut || nodes.length < 2 || this.#phase !== 'none') return
    const number = this.#begun++
    const { machine } = node
    const image = machine.disk.processCrashClone()
    machine.crash('kill')
    this.#enter('new life')
    const others = nodes.filter(other => other !== node)
    const [witness, hearer] = others.map(({ name }) => name)
    const isHearsay = others.length === 2 && number % 2 === 0
    if (isHearsay) {
      this.#options.cutOff(node.name, [hearer!])
      this.#parted(node, witness!, hearer!)
    }
    this.#awake(NEW_LIFE_MS - QUIET_MS, () => {
      this.#options.cutOff(node.name, this.#options.clients)
    })
    this.#awake(NEW_LIFE_MS, () => {
      this.#options.mend()
      this.#enter('none')
      if (node.node === undefined) return
      this.#enter(isHearsay ? 'old disk, known to one' : 'old disk')
      machine.crash('power')
      if (isHearsay) this.#options.cutOff(witness!, [node.name, hearer!])
      this.#takenOut = { node, disk: machine.disk }
      machine.insertDisk(image)
      const isLost = number % 4 < 2
      this.#options.later(() => (isLost ? void this.#readmit(image) : this.#putBack()))
    })
  }

  /** The two others are parted in time for one to miss some of the new life, of which it heard. */
  #parted(node: SimNode, witness: string, hearer: string): void {
    this.#awake(HEARD_FROM_MS, () => {
      const life = node.node
      this.#awake(HEARD_MS - HEARD_FROM_MS, () => {
        if (life !== undefined && node.node === life) this.#options.cutOff(witness, [hearer])
      })
    })
  }

  /** Calls back when so much time has passed besides what is leapt over, unless all is repaired. */
  #awake(delayMs: number, callback: () => void): void {
    const { scheduler } = this.#options.world
    const { leaptMs } = scheduler
    const rounds = this.#rounds
    scheduler.after(delayMs, () => {
      const restMs = Math.min(delayMs, scheduler.leaptMs - leaptMs)
      if (this.#rounds !== rounds) return
      if (restMs > 0) this.#awake(restMs, callback)
      else callback()
    })
  }

  #enter(phase: Phase): void {
    this.#phase = phase
    this.#sinceMs = this.#options.world.scheduler.nowMs
  }

  /** No more of it; disks that are not lost are there again. */
  end(): void {
    this.#rounds++
    this.#putBack()
    this.#enter('none')
  }

  #putBack(): void {
    if (this.#takenOut !== undefined) this.#insert(this.#takenOut.disk, true)
  }

  async #readmit(image: MemoryFileSystem): Promise<void> {
    const taken = this.#takenOut
    if (taken === undefined) return
    const { readmit, world } = this.#options
    const { name, machine } = taken.node
    const disk = await readmit(image, machine.clock.wallMs)
    if (this.#takenOut !== taken) return
    world.trace.add(world.scheduler.nowMs, name, 'readmitted', '')
    // Who has what only the lost disk had besides stays away for a while: no quorum may miss that.
    const isKnownToOne = this.#phase === 'old disk, known to one'
    this.#insert(disk, !isKnownToOne)
    if (!isKnownToOne) return
    this.#enter('old disk, known to one')
    this.#options.later(() => {
      this.#options.mend()
      this.#enter('none')
    })
  }

  #insert(disk: MemoryFileSystem, isOver: boolean): void {
    const { node } = this.#takenOut!
    this.#takenOut = undefined
    if (isOver) {
      this.#enter('none')
      this.#options.mend()
    }
    if (node.node !== undefined) {
      this.#options.violations.add('an old copy does not serve', `${node.name} did`)
    }
    node.machine.crash('kill')
    node.machine.insertDisk(disk)
  }
}
