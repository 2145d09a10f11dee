import { PGlite } from '@electric-sql/pglite'

// A process of its own makes the database (`node index-init.ts <folder>`): initdb takes some 400 MB,
// which go with it.
const pglite = await PGlite.create({ dataDir: String(process.argv[2]) })
await pglite.close()
