/**
 * Listens on the connections of a client for the versions that its writes get: the SDK assigns
 * them, once, and no caller ever sees them.
 */
import { copyBytes, utf8Decode } from '../../../src/bytes.ts'
import { FrameDecoder } from '../../../src/net/frame.ts'
import type { Connector, Wire } from '../../../src/net/index.ts'
import { type DecodedRequest, decodeRequest } from '../../../src/net/request.ts'

const FRAME_SIZE_MAX = 64 * 1024 * 1024

export type VersionListener = (
  key: string,
  /** Undefined for a deletion. */
  value: string | undefined,
  /** 32 hexadecimal digits. */
  version: string,
) => void

/** A connector whose wires tell `listener` of every write that leaves, each time it does. */
export function tapVersions(connector: Connector, listener: VersionListener): Connector {
  return {
    dial(address, events) {
      const wire = connector.dial(address, events)
      return tapWire(wire, listener)
    },
  }
}

function tapWire(wire: Wire, listener: VersionListener): Wire {
  const decoder = new FrameDecoder(FRAME_SIZE_MAX)
  return {
    get backlogBytes() {
      return wire.backlogBytes
    },
    write(bytes) {
      decoder.push(copyBytes(bytes))
      while (decoder.next()) {
        tell(decodeRequest(decoder.bytes, decoder.start, decoder.end), listener)
      }
      return wire.write(bytes)
    },
    end: () => wire.end(),
    destroy: () => wire.destroy(),
  }
}

function tell({ request, options }: DecodedRequest, listener: VersionListener): void {
  if (options.version === undefined) return
  const version = Buffer.from(options.version).toString('hex')
  if (request.type === 'put') {
    listener(utf8Decode(request.key), utf8Decode(request.value), version)
  } else if (request.type === 'delete') {
    listener(utf8Decode(request.key), undefined, version)
  } else if (request.type === 'batch') {
    for (const operation of request.operations) {
      const value = operation.type === 'put' ? utf8Decode(operation.value) : undefined
      listener(utf8Decode(operation.key), value, version)
    }
  }
}
