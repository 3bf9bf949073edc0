/**
 * A bare node:http server that answers everything with the same body: what any HTTP server on
 * Node.js can do at most. Arguments: port, bytes of the body.
 */
import { createServer } from 'node:http'

const [port, size] = process.argv.slice(2).map(Number)
const body = Buffer.alloc(size!, 'x')
const headers = { 'Content-Type': 'application/octet-stream', 'Content-Length': String(size) }

createServer((request, response) => {
  request.resume()
  response.writeHead(200, headers)
  response.end(body)
}).listen(port, '127.0.0.1')
