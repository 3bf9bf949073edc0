// Every second test of the engine.
import { batchOf, loadTests } from '../load-tests.ts'

await loadTests(...batchOf('engine', 1, 2))
