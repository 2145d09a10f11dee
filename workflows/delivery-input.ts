import type { Principal } from '../src/domain/statement.ts'

/** One delivery: a commit or branch of a repository, for one of its apps or for all. */
export type DeliveryInput = {
  id: string
  repository: string
  /** A full commit id, or a branch's name. */
  revision: string
  useCache: boolean
  principal: Principal
  requestedAt: string
  /** Of a repository with several apps: only the one of this name. */
  app?: string
  /** Of a repository with several apps: only the one in this folder. */
  path?: string
}
