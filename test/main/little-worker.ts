import pino from 'pino'
import { workflowBundle } from '../../src/main/workflow-bundle.ts'
import { createWorker, installRuntime } from '../../src/main/temporal.ts'

/** A worker of the queue `control` whose first activity never ends. Arguments: address, bundles, in-flight folder. */
const [address = '', bundles = '', inFlight = ''] = process.argv.slice(2)
const logger = pino({ level: 'silent' })
installRuntime(logger)
const worker = await createWorker({
  address,
  taskQueue: 'control',
  activities: {
    authorizeWork: () => {
      process.stdout.write('taken\n')
      return new Promise(() => undefined)
    },
  },
  bundlePath: await workflowBundle(bundles),
  concurrent: 2,
  inFlight,
  logger,
})
await worker.run()
