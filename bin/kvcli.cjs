#!/usr/bin/env node
/** Bin of `kvcli`, which is there before it has been built: launch.cjs. */
require('./launch.cjs').launch('kvcli')
