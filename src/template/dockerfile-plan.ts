import type { Digest } from '../domain/digest.ts'

/** Where a stage begins: an input that the lock names, an image by digest, or an earlier stage. */
export type StageStart =
  | { kind: 'input'; name: 'base' }
  | { kind: 'image'; digest: Digest }
  | { kind: 'stage'; index: number }

export type Instruction =
  | { keyword: 'RUN'; form: 'shell'; command: string }
  | { keyword: 'RUN'; form: 'exec'; argv: readonly string[] }
  | {
      keyword: 'COPY'
      /** Index of the stage that the sources are in; null: the context. */
      from: number | null
      /** `<uid>:<gid>`; null: 0:0. */
      owner: string | null
      sources: readonly string[]
      destination: string
    }
  | { keyword: 'ARG' | 'ENV' | 'LABEL'; pairs: readonly (readonly [string, string])[] }
  | { keyword: 'WORKDIR'; path: string }
  | { keyword: 'USER'; uid: number; gid: number }
  | { keyword: 'EXPOSE'; ports: readonly string[] }
  | { keyword: 'CMD' | 'ENTRYPOINT'; argv: readonly string[] }
  | { keyword: 'STOPSIGNAL'; signal: string }

export type Stage = { start: StageStart; instructions: readonly Instruction[] }

/** All that a Dockerfile may say, and nothing that was not understood. The last stage is the image. */
export type Plan = { stages: readonly Stage[] }
