#!/usr/bin/env node
/** Bin of `kvd`, which is there before it has been built: launch.cjs. */
require('./launch.cjs').launch('kvd')
