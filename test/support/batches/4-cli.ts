// The tests of the programs.
import { batchOf, loadTests } from '../load-tests.ts'

await loadTests(...batchOf('cli'))
