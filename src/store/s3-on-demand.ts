import type { AgingStore, HeadStore } from './blob-store.ts'
import type { S3Settings } from './s3-client.ts'

type S3 = { store: AgingStore; head: HeadStore; probe: () => Promise<void> }

/**
 * The store and the head in S3, whose client is loaded when it is first used: it is some hundred modules,
 * which every command and process would otherwise load for a store that is a folder.
 */
export function s3OnDemand(settings: S3Settings): S3 {
  let loading: Promise<S3> | undefined
  const s3 = () => (loading ??= load(settings))
  const store = async () => (await s3()).store
  return {
    store: {
      put: async (...given) => (await store()).put(...given),
      get: async (...given) => (await store()).get(...given),
      size: async (...given) => (await store()).size(...given),
      putBlob: async (...given) => (await store()).putBlob(...given),
      readBlob: async (...given) => (await store()).readBlob(...given),
      async *list(prefix) {
        yield* (await store()).list(prefix)
      },
      async *entries(prefix) {
        yield* (await store()).entries(prefix)
      },
      touchedAt: async (...given) => (await store()).touchedAt(...given),
      renew: async (...given) => (await store()).renew(...given),
      remove: async (...given) => (await store()).remove(...given),
    },
    head: {
      read: async () => (await s3()).head.read(),
      swap: async (...given) => (await s3()).head.swap(...given),
    },
    probe: async () => (await s3()).probe(),
  }
}

async function load(settings: S3Settings): Promise<S3> {
  const [{ openS3Store }, { openS3Head }, { probeS3 }] = await Promise.all([
    import('./s3-store.ts'),
    import('./s3-head.ts'),
    import('./probe-s3.ts'),
  ])
  return {
    store: openS3Store(settings),
    head: openS3Head(settings),
    probe: () => probeS3(settings),
  }
}
