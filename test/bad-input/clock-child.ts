import { toldOf } from './clock-told.ts'

// What is told of a home by a process whose clock stands elsewhere: `clock-child.ts <home> <origin>`.

const [home = '', origin = ''] = process.argv.slice(2)
process.stdout.write(`${JSON.stringify(await toldOf(home, origin))}\n`)
