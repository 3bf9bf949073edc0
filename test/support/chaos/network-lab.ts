/**
 * A network that can be cut, for real processes on one Linux machine: a network namespace for each
 * node, all joined by one that routes between them, where a rule drops what goes from one node to
 * another without a word, as a real partition does. Needs root and iproute2.
 */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const run = promisify(execFile)

export class NetworkLab {
  readonly #prefix: string
  readonly #count: number
  readonly #network: string

  private constructor(count: number, id: number) {
    this.#prefix = `chaos${id}`
    this.#network = `10.${100 + (id % 100)}`
    this.#count = count
  }

  /** Nodes 1 to `count`, and a way from this process to each of them. */
  static async open(count: number, id: number): Promise<NetworkLab> {
    const lab = new NetworkLab(count, id)
    try {
      await lab.#build()
    } catch (error) {
      await lab.close()
      throw error
    }
    return lab
  }

  get #router(): string {
    return `${this.#prefix}r`
  }

  host(node: number): string {
    return `${this.#network}.${node}.2`
  }

  /** The program and arguments that run a program on the node. */
  command(node: number): readonly string[] {
    return ['ip', 'netns', 'exec', `${this.#prefix}n${node}`]
  }

  async #build(): Promise<void> {
    const router = this.#router
    await ip('netns', 'add', router)
    await this.#inRouter('ip', 'link', 'set', 'lo', 'up')
    await this.#inRouter('sysctl', '-qw', 'net.ipv4.ip_forward=1')
    for (let node = 1; node <= this.#count; node++) await this.#addNode(node)
    const here = `${this.#prefix}h`
    await ip('link', 'add', here, 'type', 'veth', 'peer', 'name', 'host', 'netns', router)
    await ip('addr', 'add', `${this.#network}.250.2/24`, 'dev', here)
    await ip('link', 'set', here, 'up')
    await this.#inRouter('ip', 'addr', 'add', `${this.#network}.250.1/24`, 'dev', 'host')
    await this.#inRouter('ip', 'link', 'set', 'host', 'up')
    await ip('route', 'add', `${this.#network}.0.0/16`, 'via', `${this.#network}.250.1`)
  }

  async #addNode(node: number): Promise<void> {
    const name = `${this.#prefix}n${node}`
    const link = `n${node}`
    const router = this.#router
    await ip('netns', 'add', name)
    const peer = ['type', 'veth', 'peer', 'name', link, 'netns', router]
    await ip('link', 'add', 'eth', 'netns', name, ...peer)
    const inside = (...args: string[]) => ip('netns', 'exec', name, 'ip', ...args)
    await inside('link', 'set', 'lo', 'up')
    await inside('addr', 'add', `${this.host(node)}/24`, 'dev', 'eth')
    await inside('link', 'set', 'eth', 'up')
    await inside('route', 'add', 'default', 'via', `${this.#network}.${node}.1`)
    await this.#inRouter('ip', 'addr', 'add', `${this.#network}.${node}.1/24`, 'dev', link)
    await this.#inRouter('ip', 'link', 'set', link, 'up')
  }

  async #inRouter(...command: string[]): Promise<void> {
    await ip('netns', 'exec', this.#router, ...command)
  }

  /** Nothing passes between these nodes and the others, either way; clients reach all. */
  async cut(nodes: readonly number[]): Promise<void> {
    for (let other = 1; other <= this.#count; other++) {
      if (nodes.includes(other)) continue
      for (const node of nodes) {
        await this.#drop(node, other)
        await this.#drop(other, node)
      }
    }
  }

  async #drop(from: number, to: number): Promise<void> {
    const rule = ['pref', '100', 'from', this.host(from), 'to', this.host(to), 'blackhole']
    await this.#inRouter('ip', 'rule', 'add', ...rule)
  }

  async heal(): Promise<void> {
    for (let count = 0; count < 2 * this.#count * this.#count; count++) {
      if (!(await succeeds(this.#inRouter('ip', 'rule', 'del', 'pref', '100')))) return
    }
  }

  /** Removes all of it. Requires that nothing runs on the nodes. */
  async close(): Promise<void> {
    for (let node = 1; node <= this.#count; node++) {
      await succeeds(ip('netns', 'del', `${this.#prefix}n${node}`))
    }
    await succeeds(ip('netns', 'del', this.#router))
    await succeeds(ip('link', 'del', `${this.#prefix}h`))
  }
}

async function ip(...args: string[]): Promise<void> {
  await run('ip', args)
}

async function succeeds(work: Promise<void>): Promise<boolean> {
  try {
    await work
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error) return false
    throw error
  }
}
