/** What a proxy has between its doors and a cluster. */
export { ProxyHandler } from './proxy-handler.ts'
export { ProxyLanes } from './proxy-lanes.ts'
