/** The door for Redis clients: RESP2 and RESP3, over the same handler as the binary protocol. */
export { RespDoor } from './resp-door.ts'
