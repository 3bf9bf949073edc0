// Whole clusters in simulated time, in a process of their own.
import { loadTests } from '../load-tests.ts'

await loadTests('simulation/cluster.test.ts')
