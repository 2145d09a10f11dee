import type { Spooled } from './spool.ts'

export type SourceNode =
  | { type: 'directory' }
  | { type: 'file'; executable: boolean; content: Spooled }
  | { type: 'symlink'; target: string }

/** A tree of source files by path, in no order; every parent is there as a directory. */
export type SourceTree = ReadonlyMap<string, SourceNode>
