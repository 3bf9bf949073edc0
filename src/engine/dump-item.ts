/** What a dump of a file consists of: plain values, each a part of the file at its offset. */
import type { TableProperties } from './sstable-format.ts'
import type { VersionEdit } from './version-edit.ts'

/** The sections of a table, and of what size. */
export interface DumpedSection {
  readonly name: 'blocks' | 'filter' | 'index' | 'ranges' | 'properties' | 'footer'
  readonly offset: number
  readonly size: number
}

export type DumpItem =
  | {
      readonly type: 'table'
      readonly offset: number
      readonly fileNumber: number
      readonly sections: readonly DumpedSection[]
      readonly properties: TableProperties
    }
  | {
      readonly type: 'block'
      readonly offset: number
      readonly size: number
      /** 'none', 'deflate' or 'zstd'. */
      readonly codec: string
      readonly entries: number
      readonly firstKey: Uint8Array
      readonly lastKey: Uint8Array
    }
  | {
      readonly type: 'entry'
      /** Of its block, or frame. */
      readonly offset: number
      readonly sequence: number
      /** 'put', 'delete', 'putExpiring', 'deleteRange' or 'logData'. */
      readonly kind: string
      readonly key: Uint8Array
      /** Without the expiry; the end of a range; empty for a delete. */
      readonly value: Uint8Array
      /** Milliseconds since the Unix epoch. */
      readonly expiryMs?: number
    }
  | {
      readonly type: 'range'
      readonly offset: number
      readonly start: Uint8Array
      readonly end: Uint8Array
      readonly sequences: readonly number[]
    }
  | {
      readonly type: 'segment'
      readonly offset: number
      readonly fileNumber: number
      readonly databaseId: string
      readonly firstSequence: number
      readonly previousNumber: number
      readonly previousLength: number
    }
  | {
      readonly type: 'frame'
      readonly offset: number
      readonly size: number
      readonly firstSequence: number
      readonly ops: number
    }
  | {
      readonly type: 'manifest'
      readonly offset: number
      readonly fileNumber: number
      readonly databaseId: string
    }
  | {
      readonly type: 'edit'
      /** Counted from 0. */
      readonly number: number
      readonly edit: VersionEdit
    }
  | { readonly type: 'current'; readonly offset: number; readonly manifest: string }
  | {
      readonly type: 'file'
      readonly name: string
      readonly kind: string
      readonly size: number
    }
  | {
      readonly type: 'damage'
      readonly path: string
      readonly offset: number
      readonly what: string
      readonly expected?: string | undefined
      readonly actual?: string | undefined
    }

export interface DumpOptions {
  /** Also each entry, not only blocks and frames. @defaultValue false */
  readonly entries?: boolean
  readonly signal?: AbortSignal
}

/** Takes one item after another; the next one waits for the promise. Items are the taker's own. */
export type DumpSink = (item: DumpItem) => Promise<void>
