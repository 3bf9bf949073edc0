/** The limit of every server on node:net: returns what it gets. */
import { createServer } from 'node:net'

const [host, port] = process.argv.slice(2)
createServer({ noDelay: true }, socket => {
  socket.on('data', chunk => socket.write(chunk))
  socket.on('error', () => socket.destroy())
}).listen({ host, port: Number(port), backlog: 2048 })
