/** Who users are, what they may do, and the record of what they were refused. */
export { Access, loginAgain } from './access.ts'
export { Audit, type AuditedCaller, type Caller } from './audit.ts'
export { ACTIONS, type Action, formatGrant, type Grant, parseGrant } from './grant.ts'
export type { KeyRange } from './key-prefixes.ts'
export { hashPassword, SALT_SIZE } from './password-hash.ts'
export { type UserChanges, type UserRecord, Users } from './users.ts'
export {
  checkUserName,
  formatUsers,
  parseStoredUsers,
  parseUsers,
  type StoredUser,
  storedGrant,
} from './users-file.ts'
