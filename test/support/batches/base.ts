// The tests of what all folders share, and of the project as a whole.
import { batchOf, loadTests } from '../load-tests.ts'

await loadTests(...batchOf('base'), ...batchOf('lint'), ...batchOf('golden'), ...batchOf('level'))
