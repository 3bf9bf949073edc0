/** The process of one subject of compare.ts: opens it, measures on it, tells its memory. */
import { loadEngine } from './built.ts'
import { serveParent } from './child.ts'
import { chooseKeys, keyChooser } from './key-chooser.ts'
import { load, measure, type Scale } from './measure.ts'
import { loadPeer } from './peers.ts'
import type { RowId } from './rows.ts'
import type { Subject, SubjectFactory, SubjectName, SubjectOptions } from './subject.ts'
import { openClassicLevel } from './subjects/classic-level.ts'
import { openDuramen } from './subjects/duramen.ts'
import { openLmdb } from './subjects/lmdb.ts'
import { openMap } from './subjects/map.ts'
import { openWriteLoop } from './subjects/write-loop.ts'
import { Dataset, type DatasetOptions, range } from './workloads.ts'

const FACTORIES: Readonly<Record<SubjectName, SubjectFactory>> = {
  duramen: openDuramen,
  'classic-level': openClassicLevel,
  lmdb: openLmdb,
  map: openMap,
  'write-loop': openWriteLoop,
}

/** Load the code of a subject, before anything of it is timed. */
const LOADERS: Readonly<Partial<Record<SubjectName, () => unknown>>> = {
  duramen: loadEngine,
  'classic-level': () => loadPeer('classic-level'),
  lmdb: () => loadPeer('lmdb'),
}

export interface OpenArgument extends SubjectOptions, DatasetOptions {
  readonly name: SubjectName
}
export interface MeasureArgument extends Scale {
  readonly id: RowId
  readonly round: number
}
export interface CrashArgument {
  readonly logSize: number
}

const BATCH_SIZE = 1000
/** Writes, and as many reads: more than the memtables hold. */
const EXERCISE_COUNT = 500_000

let subject: Subject | undefined
let dataset = new Dataset({ keyCount: 1 })

function opened(): Subject {
  if (subject === undefined) throw new Error('open comes first')
  return subject
}

serveParent({
  async open(argument: OpenArgument) {
    dataset = new Dataset(argument)
    await LOADERS[argument.name]?.()
    const startMs = performance.now()
    subject = await FACTORIES[argument.name](argument)
    return { settings: subject.settings, elapsedMs: performance.now() - startMs }
  },
  load: () => load(opened(), dataset),
  measure: (argument: MeasureArgument) =>
    measure(argument.id, opened(), dataset, argument, argument.round),
  /** Writes durably until the log must hold at least so many bytes; the parent then kills us. */
  async fillLog(argument: CrashArgument) {
    const count = Math.ceil(argument.logSize / (dataset.liveSize / dataset.keyCount))
    for (let start = 0; start < count; start += BATCH_SIZE) {
      const indices = range(start, start + BATCH_SIZE)
      await opened().batch?.(dataset.keys(indices), dataset.values(indices), true)
    }
    return count
  },
  /** Whether the first and the last of `count` keys are there. */
  async check(count: number) {
    for (const index of [0, count - 1]) {
      const actual = opened().getSync?.(dataset.keys([index])[0] as Buffer)
      if (actual === undefined || dataset.value(index).compare(actual) !== 0) {
        throw new Error(`key ${index} of ${count} was lost in the crash`)
      }
    }
  },
  /** MiB at the peak of overwriting, reading and scanning, with next to nothing of our own. */
  async exercise() {
    const store = opened()
    const chooser = keyChooser('uniform', dataset.keyCount, dataset.seed)
    for (let done = 0; done < EXERCISE_COUNT; done += BATCH_SIZE) {
      const indices = chooseKeys(chooser, BATCH_SIZE)
      await store.batch?.(dataset.keys(indices), dataset.values(indices), false)
      for (const key of dataset.keys(chooseKeys(chooser, BATCH_SIZE))) store.getSync?.(key)
    }
    await store.scanAll?.()
    return process.resourceUsage().maxRSS / 1024
  },
  async close() {
    await subject?.close()
    subject = undefined
  },
})
