/** Who asks, where a test does not care who. */
import { Access, type Caller } from '../../src/net/auth/index.ts'

export const EVERYBODY: Caller = {
  access: Access.full('default'),
  door: 'test',
  remoteAddress: 'test:1',
}
