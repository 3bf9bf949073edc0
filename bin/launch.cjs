/**
 * Starts a program out of dist, which a checkout has only after a build.
 *
 * What `bin` of package.json names has to be there before that: npx links the programs of a checkout
 * when it first meets it, leaves out those whose file is missing, and never looks again.
 */
const { existsSync } = require('node:fs')
const { join } = require('node:path')

const ROOT = join(__dirname, '..')
const PROGRAMS = join(ROOT, 'dist', 'cli')

/** @param {'kvd' | 'kvcli'} program */
function launch(program) {
  // The last that is written of a program by the compiler may be its main module.
  const parts = [`${program}.cjs`, `${program}-main.js`].map(name => join(PROGRAMS, name))
  if (parts.every(part => existsSync(part))) {
    require(parts[0])
    return
  }
  process.stderr.write(
    `${program}: not built yet: there is no ${parts.find(part => !existsSync(part))}\n` +
      `  -> run 'npm ci && npm run build' in ${ROOT}, and start it again; 'npm start' builds, too\n`,
  )
  process.exitCode = 1
}

module.exports = { launch }
