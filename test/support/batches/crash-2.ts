// Every second of the short forms of the crash tests.
import { batchOf, loadTests } from '../load-tests.ts'

await loadTests(...batchOf('crash', 2, 2))
