/**
 * The identity of a database: 16 random bytes, drawn once when it is created, kept in its MANIFEST
 * and in every WAL segment, so that a file that strayed in from another directory is noticed.
 */

export const DATABASE_ID_SIZE = 16

/** The id in hexadecimal, for messages. */
export function formatDatabaseId(id: Uint8Array): string {
  return Array.from(id, byte => byte.toString(16).padStart(2, '0')).join('')
}
