/** What a door says, unencrypted, to who speaks its protocol plainly where it speaks TLS. */
import { utf8Encode } from '../bytes.ts'
import { InvalidArgumentError } from '../errors.ts'
import { OutputBuffer } from './output-buffer.ts'
import { encodeErrorReply } from './response-body.ts'
import { errorBodyOf, statusOfError } from './status-error.ts'

const SIZE_START = 256

export const PLAIN_ANSWERS = {
  binary: binaryAnswer(),
  redis: utf8Encode('-ERR this port speaks TLS: use rediss://, or redis-cli --tls\r\n'),
} as const

function binaryAnswer(): Uint8Array {
  const error = new InvalidArgumentError(
    'this port speaks TLS: use kvs:// (kvcli: DURAMEN_TLS_CA names the authority to believe; ' +
      'kvd proxy: --nodes-tls)',
  )
  const output = new OutputBuffer(SIZE_START)
  encodeErrorReply(output, statusOfError(error), 0, 0, errorBodyOf(error))
  return output.written.slice()
}
