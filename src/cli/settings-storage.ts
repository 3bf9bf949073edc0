/** Settings of where a node keeps its data, and how. */
import { PARTITION_COUNT_MAX } from '../cluster/index.ts'
import type { Compression } from '../engine/index.ts'
import { DURABILITIES, type Durability } from '../key-value-store.ts'
import type { SettingTable } from './setting.ts'
import {
  choiceValue,
  durationValue,
  integerValue,
  optionalValue,
  sizeValue,
  textValue,
} from './setting-values.ts'

const MIB = 1024 * 1024
const COMPRESSIONS: readonly Compression[] = ['none', 'deflate', 'zstd']

/** The cold directory of a node that is to have none. */
export const NO_COLD_DIR = 'none'

export interface DirectorySettings {
  readonly dir: string
  readonly coldDir: string | undefined
}

export interface StorageSettings {
  readonly durability: Durability
  readonly syncInterval: number
  readonly memoryBudget: number
  readonly compactionThreads: number
  readonly compression: Compression
  readonly partitions: number | undefined
}

export const DIRECTORY_TABLE: SettingTable<DirectorySettings> = {
  dir: {
    kind: textValue('a directory'),
    standard: './duramen-data',
    argument: 'directory',
    description: 'where the data is kept; made when missing',
  },
  coldDir: {
    kind: optionalValue(textValue('a directory'), 'as before'),
    standard: undefined,
    argument: 'directory',
    description:
      "a second directory, on another disk, for the last level's tables, most of the data; " +
      `'${NO_COLD_DIR}' brings them back`,
  },
}

export const STORAGE_TABLE: SettingTable<StorageSettings> = {
  durability: {
    kind: choiceValue(DURABILITIES),
    standard: 'sync',
    argument: 'level',
    description: 'what an acknowledged write has survived: sync, interval or none',
  },
  syncInterval: {
    kind: durationValue(1, 60_000),
    standard: 100,
    argument: 'duration',
    description: 'time between fsyncs at durability interval',
  },
  memoryBudget: {
    kind: sizeValue(MIB, 1024 * 1024 * MIB),
    standard: 256 * MIB,
    argument: 'size',
    description: 'memory for memtables, cached blocks, filters and indices',
  },
  compactionThreads: {
    kind: integerValue(1, 64),
    standard: 1,
    argument: 'count',
    description: 'compactions at the same time, each on a thread of its own',
  },
  compression: {
    kind: choiceValue(COMPRESSIONS),
    standard: 'none',
    argument: 'codec',
    description: `how blocks are stored: ${COMPRESSIONS.join(', ')} (zstd needs Node.js 22.15)`,
  },
  partitions: {
    kind: optionalValue(integerValue(1, PARTITION_COUNT_MAX), 'as made'),
    standard: undefined,
    argument: 'count',
    description: 'a power of two, fixed when the directory is made (then 1024 unless given)',
  },
}
