// The model tests of the engine.
import { batchOf, loadTests } from '../load-tests.ts'

await loadTests(...batchOf('model'))
