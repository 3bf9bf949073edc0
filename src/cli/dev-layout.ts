/**
 * What `kvd dev` keeps in its directory: which nodes there are and on which ports, the secret by
 * which they know each other, who runs them now. Pure; the files are read and written elsewhere.
 *
 *   cluster.json   the nodes and their ports, fixed when the directory is made
 *   secret         64 hexadecimal digits, for this user only
 *   running.json   while a cluster runs: the process that looks after it, and its address
 *   control/       questions of kvcli, and their answers (dev-control.ts)
 *   node-1/ ...    the data of the nodes
 */
import { UsageError } from './usage-error.ts'

export const DEV_DIRECTORY = './duramen-data/dev'
export const DEV_NODES_DEFAULT = 3
export const DEV_NODES_MAX = 9
/** Peer ports lie so far above the ports for clients, where they are free. */
export const PEER_PORT_DISTANCE = 100
export const DEV_HOST = '127.0.0.1'

export interface DevNode {
  /** From 1. */
  readonly number: number
  readonly port: number
  readonly peerPort: number
}

export interface DevLayout {
  readonly nodes: readonly DevNode[]
}

export function layoutPath(directory: string): string {
  return `${directory}/cluster.json`
}

export function secretPath(directory: string): string {
  return `${directory}/secret`
}

export function runningPath(directory: string): string {
  return `${directory}/running.json`
}

export function nodeDirectory(directory: string, { number }: DevNode): string {
  return `${directory}/node-${number}`
}

/** Whether a name in the directory, as DevFiles lists it, is that of a node's data. */
export function isNodeDirectory(name: string): boolean {
  return /^node-\d+\/$/.test(name)
}

/** The addresses of all nodes behind `kv://`, or what else is to be said of them. */
export function devUrl({ nodes }: DevLayout, start: string): string {
  return `${start}${nodes.map(({ port }) => `${DEV_HOST}:${port}`).join(',')}`
}

/** `host:port` at which the other nodes reach this one. */
export function peerAddress({ peerPort }: DevNode): string {
  return `${DEV_HOST}:${peerPort}`
}

/** Ports from `base` on, one for clients and one for nodes each, of those that are free. */
export async function chooseLayout(
  count: number,
  base: number,
  isFree: (port: number) => Promise<boolean>,
): Promise<DevLayout> {
  const taken = new Set<number>()
  const choose = async (from: number): Promise<number> => {
    for (let port = from; port <= 65_535; port++) {
      if (taken.has(port) || !(await isFree(port))) continue
      taken.add(port)
      return port
    }
    throw new UsageError(`from port ${from} on none is free: choose another --port`)
  }
  const nodes: DevNode[] = []
  for (let number = 1; number <= count; number++) {
    const port = await choose(base + number - 1)
    nodes.push({ number, port, peerPort: await choose(port + PEER_PORT_DISTANCE) })
  }
  return { nodes }
}

export function encodeLayout({ nodes }: DevLayout): string {
  return `${JSON.stringify({ nodes }, undefined, 2)}\n`
}

/** Throws UsageError, naming the file, for text that encodeLayout has not written. */
export function decodeLayout(text: string, path: string): DevLayout {
  const found = (parseJson(text) as { nodes?: unknown } | undefined)?.nodes
  const nodes = Array.isArray(found) ? (found as readonly DevNode[]) : []
  const isSound =
    nodes.length >= 1 &&
    nodes.every(({ number, port, peerPort }, index) => {
      return number === index + 1 && isPort(port) && isPort(peerPort)
    })
  if (isSound) return { nodes }
  throw new UsageError(`${path} does not tell which nodes there are: remove it, or its directory`)
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 1 && port <= 65_535
}

/** Who runs a cluster. */
export interface DevRun {
  readonly pid: number
  readonly url: string
}

/** Undefined for text that is none. */
export function decodeRun(text: string | undefined): DevRun | undefined {
  const run = text === undefined ? undefined : (parseJson(text) as Partial<DevRun> | undefined)
  const { pid, url } = run ?? {}
  if (!Number.isInteger(pid) || typeof url !== 'string') return undefined
  return { pid: pid!, url }
}

/** Undefined for what is no JSON object. */
export function parseJson(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}
