/**
 * A secret from whoever runs the program: typed without an echo where stdin is a terminal, else the
 * first line of stdin.
 */
import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'

/** Resolves with the line; empty when stdin ends before there is one. */
export function readSecretLine(prompt: string): Promise<string> {
  const { stdin, stderr } = process
  const isTerminal = stdin.isTTY === true
  if (isTerminal) stderr.write(prompt)
  // readline echoes what is typed to its output: this one shows nothing.
  const output = new Writable({ write: (_chunk, _encoding, done) => done() })
  const lines = createInterface({ input: stdin, output, terminal: isTerminal })
  return new Promise(resolve => {
    let answer = ''
    lines.once('line', line => {
      answer = line
      lines.close()
    })
    lines.once('SIGINT', () => lines.close())
    lines.once('close', () => {
      if (isTerminal) stderr.write('\n')
      stdin.unref()
      resolve(answer)
    })
  })
}
