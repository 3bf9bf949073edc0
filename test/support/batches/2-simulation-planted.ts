// The simulation itself, and the bugs that it must find.
import { batchOf, loadTests } from '../load-tests.ts'

await loadTests(...batchOf('simulation'))
