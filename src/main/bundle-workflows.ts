import { workflowBundle } from './workflow-bundle.ts'

// The bundler takes some 200 MB: whoever needs the bundle has this program make it, in a process of its own.
const [folder] = process.argv.slice(2)
if (folder === undefined) throw new Error('usage: bundle-workflows FOLDER')
await workflowBundle(folder)
