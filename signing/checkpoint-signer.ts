import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { KeyObject } from 'node:crypto'
import { KilnError } from '../src/domain/error.ts'
import { toBase64 } from './base64.ts'
import { signCheckpoint } from './checkpoint.ts'
import {
  decideCheckpoint,
  decodeState,
  encodeState,
  stateFile,
  type CheckpointRequest,
  type CheckpointState,
  type SignedCheckpoint,
} from './checkpoint-state.ts'

/** `refused` carries what was signed last: the appender finishes that append, then tries again on top of it. */
export type CheckpointAnswer =
  | { kind: 'signed'; note: string }
  | { kind: 'refused'; message: string; last: SignedCheckpoint | null }

export type CheckpointSigner = {
  sign: (request: CheckpointRequest) => CheckpointAnswer
  last: () => SignedCheckpoint | null
}

/**
 * The only thing that signs checkpoints. What it signs is durable in `<keys>/checkpoint-state.json`
 * before the caller hears of it, so that a killed signer never signs a fork. The caller must own the
 * folder alone: two signers on one folder could each sign another tree.
 * Throws `ledger_corrupt` when the record is missing or of another origin.
 */
export function openCheckpointSigner(options: {
  directory: string
  origin: string
  logKey: KeyObject
  crashPoint?: (name: string) => void
  /** What to throw for a failed write of the path; without it the error as it was. */
  diskError?: (error: unknown, path: string) => unknown
}): CheckpointSigner {
  const { directory, origin, logKey, crashPoint = () => undefined } = options
  const { diskError = (error: unknown) => error } = options
  let state = readState(directory)
  if (state.origin !== origin) {
    throw new KilnError('ledger_corrupt', `these keys sign for ${state.origin}, not for ${origin}`)
  }
  return {
    last: () => state.last,
    // Synchronous from the decision to the file: no second request can come in between.
    sign(request) {
      const decision = decideCheckpoint(state, request)
      switch (decision.kind) {
        case 'refused':
          return { kind: 'refused', message: decision.message, last: state.last }
        case 'repeat':
          return { kind: 'signed', note: decision.note }
        case 'sign': {
          const note = signCheckpoint(decision.checkpoint, logKey)
          crashPoint('signer.checkpoint-made')
          const { size, root } = decision.checkpoint
          const next = { origin, last: { size, root: toBase64(root), note } }
          try {
            writeState(directory, next)
          } catch (error) {
            throw diskError(error, join(directory, stateFile))
          }
          crashPoint('signer.checkpoint-durable')
          state = next
          return { kind: 'signed', note }
        }
      }
    },
  }
}

function readState(directory: string): CheckpointState {
  const path = join(directory, stateFile)
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw new KilnError('ledger_corrupt', `${path} is missing: what was signed is not known`, {
      cause: error,
      fix: 'restore the keys folder from its backup',
    })
  }
  return decodeState(text)
}

/** Durable when it returns. If it throws, the new state may or may not be on disk: both are safe, nobody heard of it. */
function writeState(directory: string, state: CheckpointState): void {
  const temporary = join(directory, `${stateFile}.new`)
  const file = openSync(temporary, 'w', 0o600)
  try {
    writeFileSync(file, encodeState(state))
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  renameSync(temporary, join(directory, stateFile))
  const folder = openSync(directory, 'r')
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}
