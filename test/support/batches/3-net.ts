// The tests of the network.
import { batchOf, loadTests } from '../load-tests.ts'

await loadTests(...batchOf('net'))
