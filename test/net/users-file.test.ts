// Goal: a grant whose prefix is not what it was meant to be is refused, and never allows more.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseUsers } from '../../src/net/auth/users-file.ts'

const [SALT, KEY] = [16, 32].map(size => Buffer.alloc(size).toString('base64'))
const HASH = `scrypt$1024$8$1$${SALT}$${KEY}`

function prefixIn(grant: Readonly<Record<string, unknown>>): string {
  const user = { name: 'ada', password: HASH, grants: [{ actions: ['read'], ...grant }] }
  const [record] = parseUsers(JSON.stringify({ format: 1, users: [user] }), 'users.json')
  return Buffer.from(record!.grants[0]!.prefix).toString('latin1')
}

test('a prefix that says nothing, or not all of what stands there, is refused', () => {
  assert.equal(prefixIn({}), '')
  assert.equal(prefixIn({ prefix: 'app:' }), 'app:')
  assert.equal(prefixIn({ prefix64: '/wA=' }), '\xff\0')
  assert.throws(() => prefixIn({ prefix: '' }), /user 'ada': a prefix is not empty/)
  assert.throws(() => prefixIn({ prefix64: '' }), /a prefix is not empty/)
  for (const prefix64 of ['app:', '!', '/wA', '/w A=', '/wB=']) {
    assert.throws(() => prefixIn({ prefix64 }), /a prefix64 is base64/, prefix64)
  }
})
