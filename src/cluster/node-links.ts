/**
 * What links a node with the others of its cluster, put together: this start recorded, the links
 * made, then opened to others, and kept up with the ring.
 *
 *   open --> handlers are registered --> start --> settle --> linked --> close
 *                                          +--a member knows a later start--> fenced, for good
 */
import { utf8Encode } from '../bytes.ts'
import { InvalidArgumentError, type KvError } from '../errors.ts'
import { type Logger, silentLogger } from '../logger.ts'
import {
  Audit,
  type ListenPolicy,
  OutputBuffer,
  resolveListenOptions,
  tlsAcceptor,
  tlsConnector,
} from '../net/index.ts'
import { SharedSecret } from '../secret.ts'
import type { CurrentRing } from './current-ring.ts'
import { KnownBootsKeeper, readKnownBoots } from './known-boots.ts'
import { LeftHandshakes } from './left-handshakes.ts'
import { expectedAddress, reachableAddress } from './node-address.ts'
import {
  CLUSTER_SECRET_SIZE_MIN,
  type ClusterOptions,
  type NodeEnvironment,
  type NodeOptions,
  PEER_PORT_DEFAULT,
} from './options.ts'
import { parsePeerAddress } from './peer-address.ts'
import { PeerFrame, writePeerFrame } from './peer-frame.ts'
import {
  BOOT_NONCE_SIZE,
  type Boot,
  encodeRefusal,
  NO_CLUSTER,
  NO_PROOF,
  PeerRefusal,
} from './peer-hello.ts'
import { DEFAULT_PEER_LIMITS, type PeerLimits } from './peer-limits.ts'
import { PeerLinks, type PeerLinksOptions } from './peer-links.ts'
import type { Ring } from './ring.ts'
import { checkAddress, checkRack, checkWeight, type NodeId, nodeIdOf } from './ring-member.ts'
import { StartRecord } from './start-record.ts'
import type { Store } from './store.ts'
import { TakenStart } from './taken-start.ts'

const PLAIN_REFUSAL_SIZE = 512

export interface NodeLinksParts {
  readonly store: Store
  /** The directory, for messages. */
  readonly path: string
  readonly self: NodeId
  readonly ring: CurrentRing
  readonly options: ClusterOptions
  readonly policy: ListenPolicy
  /** The longest frame of a client: what it holds must be passed on to other nodes. */
  readonly frameSizeMax: number
  readonly environment: NodeEnvironment
  readonly logger: Logger
  /** A later process is this node: it must stop serving. */
  readonly fenced: (error: KvError) => void
}

/** Throws InvalidArgumentError for what no node can be linked with. */
export function checkClusterOptions(options: ClusterOptions): void {
  const { secret, peerAddress = '', init = false, join = [], rack = '', weight = 1 } = options
  checkAddress(peerAddress)
  checkRack(rack)
  checkWeight(weight)
  for (const address of join) parsePeerAddress(address)
  if (init && join.length > 0) {
    throw new InvalidArgumentError(
      'init begins a new cluster, join enters one that there is: choose one of them',
    )
  }
  const size = secretBytes(secret).length
  if (size >= CLUSTER_SECRET_SIZE_MIN) return
  throw new InvalidArgumentError(
    `the cluster secret has ${size} bytes, too few to be safe from guessing: use at least ` +
      `${CLUSTER_SECRET_SIZE_MIN}, for example from: openssl rand -hex 32`,
  )
}

/** Where it listens for other nodes. */
export function peerListenOptions({ peerHost, peerPort }: ClusterOptions) {
  return { host: peerHost ?? '127.0.0.1', port: peerPort ?? PEER_PORT_DEFAULT }
}

/** Who knows the secret may connect, so a password is not asked for besides. */
export function peerPolicy({ allowInsecureRemote = false, tls }: NodeOptions): ListenPolicy {
  return { allowInsecureRemote, asksForPassword: true, isEncrypted: tls !== undefined }
}

/** How nodes reach each other: with TLS both sides show a certificate of the authority. */
export function peerEnvironment(
  environment: NodeEnvironment,
  { tls, logger = silentLogger }: NodeOptions,
): NodeEnvironment {
  if (tls === undefined) return environment
  const { identity } = tls
  const audit = new Audit(logger, environment.clock)
  const left = new LeftHandshakes(environment.clock, logger)
  return {
    ...environment,
    connector: tlsConnector(() => identity.files, 'node'),
    acceptor: tlsAcceptor(
      { identity, clientAuth: 'require' },
      {
        door: 'nodes',
        ended: (remoteAddress, end) => {
          if (end.kind === 'gone') left.left(remoteAddress)
          audit.handshakeEnded({ door: 'nodes', remoteAddress }, end)
        },
        plainAnswer: plainRefusal(),
      },
    ),
  }
}

/** What a node without TLS is told: in its own protocol, for it understands nothing else. */
function plainRefusal(): Uint8Array {
  const message =
    'the nodes of this cluster speak TLS with each other: give this one a certificate of their ' +
    'authority (kvd: --tls-cert, --tls-key, --tls-ca)'
  const output = new OutputBuffer(PLAIN_REFUSAL_SIZE)
  const body = encodeRefusal({ code: PeerRefusal.plain, message, proof: NO_PROOF })
  writePeerFrame(output, PeerFrame.refusal, PeerRefusal.plain, 0, 0, body)
  return output.written.slice()
}

function secretBytes(secret: Uint8Array | string): Uint8Array {
  return typeof secret === 'string' ? utf8Encode(secret) : secret
}

/** Longer values need longer frames, and room for some of them. */
function roomFor(clientFrameSizeMax: number): Partial<PeerLimits> {
  const { receiveBytesMax, answersBytesMax, ...standard } = DEFAULT_PEER_LIMITS
  const frameSizeMax = Math.max(standard.frameSizeMax, 2 * clientFrameSizeMax)
  return {
    frameSizeMax,
    receiveBytesMax: Math.max(receiveBytesMax, 2 * frameSizeMax),
    answersBytesMax: Math.max(answersBytesMax, frameSizeMax),
  }
}

/** Refuses to start alone what belongs to a cluster. */
export function checkStandsAlone({ members }: Ring, self: NodeId, path: string): void {
  if (members.length === 1 && members[0]!.nodeId === self) return
  const others = members.length === 1 ? 'another node' : `${members.length} nodes`
  throw new InvalidArgumentError(
    `${path} belongs to a cluster of ${others}: give it the cluster's secret, so ` +
      'that the others let it in (kvd: DURAMEN_CLUSTER_SECRET, or clusterSecretFile)',
  )
}

/** The links of a node, and where they are opened. */
export class NodeLinks {
  readonly peers: PeerLinks
  readonly #parts: NodeLinksParts
  readonly #start: StartRecord
  readonly #address: { text: string }
  #stopFollowing: (() => void) | undefined
  readonly #taken: TakenStart
  readonly #known: KnownBootsKeeper
  /** What is being recorded of this start. Never rejects. */
  #recording: Promise<void> = Promise.resolve()

  private constructor(
    parts: NodeLinksParts,
    start: StartRecord,
    address: { text: string },
    knownBoots: ReadonlyMap<NodeId, Boot>,
  ) {
    const { store, self, ring, options, environment, logger, fenced } = parts
    const { clock, random, entropy, connector, acceptor } = environment
    this.#parts = parts
    this.#start = start
    this.#address = address
    this.#known = new KnownBootsKeeper({ store, clock, logger })
    const linksOptions: PeerLinksOptions = {
      self,
      boot: start.boot,
      knownBoots,
      rememberBoots: boots => this.#known.keep(boots),
      secret: new SharedSecret(secretBytes(options.secret)),
      clock,
      random,
      entropy,
      logger,
      connector,
      acceptor,
      limits: { ...roomFor(parts.frameSizeMax), ...options.peerLimits },
      clusterId: () => ring.ring.clusterId,
      epoch: () => ring.ring.epoch,
      address: () => address.text,
      fenced: error => {
        this.#record(start.supersede(error.message))
        fenced(error)
      },
    }
    this.peers = new PeerLinks(environment.seams?.links?.(linksOptions) ?? linksOptions)
    this.#taken = new TakenStart({
      peers: this.peers,
      members: () => ring.ring.members,
      clock,
      onTaken: () => this.#record(this.#confirm()),
    })
  }

  /**
   * Records this start. Nobody hears of the node before `start`. Rejects with LockedError when the
   * directory was found to be an old copy.
   */
  static async open(parts: NodeLinksParts): Promise<NodeLinks> {
    const { store, path, options, environment } = parts
    const start = await StartRecord.open(store, path, environment.entropy)
    const knownBoots = await readKnownBoots(store, path)
    const address = { text: options.peerAddress ?? expectedAddress(peerListenOptions(options)) }
    return new NodeLinks(parts, start, address, knownBoots)
  }

  /** Links of a node that has no cluster yet, to find one: it dials, and nobody can dial it. */
  static wanderer(
    self: NodeId,
    options: ClusterOptions,
    environment: NodeEnvironment,
    logger: Logger,
  ): PeerLinks {
    const { clock, random, entropy, connector, acceptor } = environment
    return new PeerLinks({
      self,
      // Before every start that is counted.
      boot: { generation: 0, nonce: nodeIdOf(entropy(BOOT_NONCE_SIZE)) },
      secret: new SharedSecret(secretBytes(options.secret)),
      clock,
      random,
      entropy,
      logger,
      connector,
      acceptor,
      limits: options.peerLimits ?? {},
      clusterId: () => NO_CLUSTER,
      epoch: () => 0,
      address: () => '',
      fenced: () => undefined,
    })
  }

  /** Where others reach this node; empty when it does not know. */
  get address(): string {
    return this.#address.text
  }

  /** How often the node was started, this time included. */
  get generation(): number {
    return this.#start.starts
  }

  /** By which members tell this life of the node from others. */
  get lifeGeneration(): number {
    return this.#start.boot.generation
  }

  /** True when the operator took the directory back as an old copy, some time. */
  get isReadmitted(): boolean {
    return this.#start.isReadmitted
  }

  /** True once most members have taken this start, and the others had a moment to object. */
  get hasVote(): boolean {
    return this.#taken.hasVote
  }

  /** Lets other nodes in and dials the members of the ring, of this one and every later one. */
  async start(): Promise<void> {
    const { options, policy, ring } = this.#parts
    const wanted = resolveListenOptions(peerListenOptions(options), policy)
    const bound = await this.peers.listen(wanted, policy)
    this.#address.text = options.peerAddress ?? reachableAddress(bound)
    const follow = ({ members, removedIds }: Ring): void => {
      this.peers.setMembers(members, removedIds)
    }
    follow(ring.ring)
    this.#stopFollowing = ring.onChange(next => {
      follow(next)
      this.#taken.ringChanged()
    })
  }

  /**
   * Resolves once most members have taken this start, so none of them knows a later one; after
   * TAKEN_WAIT_MS in any case, for a node that is left alone serves. Then it is told to stop as
   * soon as a member that knows better is linked. Rejects with the signal's reason. After `start`.
   */
  async settle(signal: AbortSignal): Promise<void> {
    await this.#taken.wait(signal)
  }

  /** The others hear of it only once the next start is a later one for sure. */
  async #confirm(): Promise<void> {
    if (await this.#start.confirm()) this.peers.startTaken()
  }

  #record(recording: Promise<void>): void {
    const { logger } = this.#parts
    this.#recording = Promise.all([this.#recording, recording]).then(
      () => undefined,
      error => logger.error('what members say of this start could not be recorded', { error }),
    )
  }

  async close(): Promise<void> {
    this.#stopFollowing?.()
    this.#taken.close()
    await this.peers.close()
    await this.#known.close()
    await this.#recording
  }
}
