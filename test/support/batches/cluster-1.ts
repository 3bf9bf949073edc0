// Every second test of the cluster.
import { batchOf, loadTests } from '../load-tests.ts'

await loadTests(...batchOf('cluster', 1, 2))
