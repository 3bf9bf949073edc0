// Every second test of the cluster.
import { batchOf, loadTests } from '../load-tests.ts'
import { optimizeRarely } from '../rare-optimization.ts'

optimizeRarely()
await loadTests(...batchOf('cluster', 1, 2))
