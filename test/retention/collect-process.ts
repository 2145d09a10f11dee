/**
 * A process of its own that collects: `node collect-process.ts <home> <crash point> <times>`. When it passes
 * the named point for that many times it is killed by SIGKILL.
 */
import { collectIn } from './collect-in.ts'

const [home = '', point = '', times = '1'] = process.argv.slice(2)
let left = Number(times)

await collectIn(home, (passed) => {
  if (passed !== point) return
  left -= 1
  if (left === 0) process.kill(process.pid, 'SIGKILL')
})
