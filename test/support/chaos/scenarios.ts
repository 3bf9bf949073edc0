/** What is done to a cluster under load. */
import type { Chaos, Scenario } from './chaos-run.ts'
import { QuorumProbes } from './quorum-probes.ts'

const always = (): boolean => true
/** So long the load goes on undisturbed before a fault, and after its end. */
const BEFORE_S = 5
const AFTER_S = 5

function secondsText(seconds: number | undefined): string {
  return seconds === undefined ? 'too long' : seconds.toFixed(1)
}

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'kills',
    title: ({ lengths }) => `kill -9, start after ${lengths.away} s, ${lengths.kills} times`,
    isLoaded: true,
    isPossible: always,
    script: killOneByOne,
  },
  {
    name: 'all',
    title: () => 'kill -9 of all nodes at once',
    isLoaded: true,
    isPossible: always,
    async script(chaos) {
      await chaos.wait(BEFORE_S)
      const startMs = chaos.clock.monotonicMs()
      await chaos.all(node => chaos.subject.kill(node))
      await chaos.all(node => chaos.subject.restart(node))
      chaos.mended()
      const wholeS = await chaos.until(() => chaos.subject.isWhole(), startMs)
      chaos.notes.push(`every node served again ${secondsText(wholeS)} s after the kill`)
      await chaos.wait(AFTER_S)
    },
  },
  {
    name: 'partition',
    title: ({ lengths, divergentKeys }) =>
      `cut in two for ${lengths.cut} s, ${divergentKeys} keys written meanwhile`,
    isLoaded: true,
    isPossible: subject => subject.network !== undefined,
    script: cutInTwo,
  },
  {
    name: 'pause',
    title: ({ lengths }) => `SIGSTOP of a node for ${lengths.pause} s`,
    isLoaded: true,
    isPossible: always,
    async script(chaos) {
      await chaos.wait(BEFORE_S)
      const node = await chaos.victim()
      chaos.say(`node ${node} hangs`)
      chaos.subject.pause(node)
      await chaos.wait(chaos.lengths.pause)
      chaos.subject.resume(node)
      chaos.mended()
      await chaos.wait(AFTER_S)
    },
  },
  {
    name: 'divergent',
    title: ({ divergentKeys }) => `a node loses ${divergentKeys} keys behind its back`,
    isLoaded: false,
    isPossible: subject => subject.damage !== undefined,
    async script(chaos) {
      const node = await chaos.victim()
      // What it alone has must not be what it loses.
      await chaos.until(() => chaos.isNothingOwed())
      await chaos.subject.kill(node)
      const count = await chaos.subject.damage?.(node, chaos.options.divergentKeys)
      chaos.say(`node ${node} has lost ${count} keys`)
      await chaos.subject.restart(node)
      chaos.mended()
    },
  },
  {
    name: 'baseline',
    title: ({ lengths }) => `nothing, for ${lengths.baseline} s`,
    isLoaded: true,
    isPossible: always,
    script: chaos => chaos.wait(chaos.lengths.baseline),
  },
]

async function killOneByOne(chaos: Chaos): Promise<void> {
  const { subject, lengths } = chaos
  const hints: (number | undefined)[] = []
  const whole: (number | undefined)[] = []
  for (let count = 1; count <= lengths.kills; count++) {
    await chaos.wait(BEFORE_S)
    const node = await chaos.victim()
    chaos.say(`kill ${count}: node ${node}`)
    await subject.kill(node)
    await chaos.wait(lengths.away)
    await subject.restart(node)
    chaos.mended()
    const backMs = chaos.faultEndMs
    whole.push(await chaos.until(() => subject.isWhole(), backMs))
    hints.push(await chaos.until(() => chaos.isNothingOwed('hints'), backMs))
  }
  chaos.notes.push(`whole ${whole.map(secondsText).join(', ')} s after each start`)
  if ((await subject.owed()) !== undefined) {
    chaos.notes.push(`no hint left ${hints.map(secondsText).join(', ')} s after each start`)
  }
  await chaos.wait(AFTER_S)
}

/** The smaller part of the nodes against the larger. */
async function cutInTwo(chaos: Chaos): Promise<void> {
  const { subject, lengths, options } = chaos
  const network = subject.network!
  const nodes = Array.from({ length: subject.nodeCount }, (_, index) => index + 1)
  const few = nodes.slice(0, Math.floor((nodes.length - 1) / 2))
  const sides = [few, nodes.filter(node => !few.includes(node))]
  // The ring must be known before.
  await network.replicas('probe:0')
  await chaos.wait(BEFORE_S)
  const { random, history } = options
  const { clock } = chaos
  const probes = new QuorumProbes({ network, clock, random, sides, keyCount: history.keyCount })
  await network.cut(few)
  const spread = lengths.cut * 0.9
  const [written] = await Promise.all([
    chaos.writeEach(options.divergentKeys, spread),
    probes.run(lengths.cut),
  ])
  await network.heal()
  chaos.mended()
  chaos.notes.push(probes.summary())
  chaos.notes.push(`${written} keys were written one after the other during the cut`)
  await chaos.wait(AFTER_S)
}
