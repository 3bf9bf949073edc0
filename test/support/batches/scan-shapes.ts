// The shapes that V8 gives to what a scan is made of, in a process of their own.
import { loadTests } from '../load-tests.ts'

await loadTests('engine/scan-shapes.test.ts')
