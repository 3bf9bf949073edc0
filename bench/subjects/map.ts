/**
 * A JavaScript Map: the limit of what reading bytes by a key of bytes can cost without a store.
 * A Map compares objects by identity, so bytes become a string first, as they must in any program
 * that receives bytes. Values are handed out as they are, while every store here hands out copies.
 */
import type { Subject } from '../subject.ts'

export async function openMap(): Promise<Subject> {
  const map = new Map<string, Buffer>()
  return {
    settings: 'Map<string, Buffer>, keys made into strings by latin1Slice, values not copied',
    async batch(keys, values) {
      for (let position = 0; position < keys.length; position++) {
        map.set((keys[position] as Buffer).toString('latin1'), values[position] as Buffer)
      }
    },
    getSync: key => map.get(key.toString('latin1')),
    close: async () => map.clear(),
  }
}
