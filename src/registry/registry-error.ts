/** The distribution specification's error codes (its section "Error Codes" has no others), and one for Kiln's own faults. */
export type RegistryErrorCode =
  | 'BLOB_UNKNOWN'
  | 'BLOB_UPLOAD_INVALID'
  | 'BLOB_UPLOAD_UNKNOWN'
  | 'DENIED'
  | 'DIGEST_INVALID'
  | 'MANIFEST_BLOB_UNKNOWN'
  | 'MANIFEST_INVALID'
  | 'MANIFEST_UNKNOWN'
  | 'NAME_INVALID'
  | 'NAME_UNKNOWN'
  | 'SIZE_INVALID'
  | 'TOOMANYREQUESTS'
  | 'UNAUTHORIZED'
  /** Only with 5xx, of which the specification does not speak. */
  | 'UNAVAILABLE'
  | 'UNSUPPORTED'

/** An answer that is an error: it goes out as the specification's JSON, and its message holds no secret. */
export class RegistryError extends Error {
  override readonly name = 'RegistryError'
  readonly code: RegistryErrorCode
  readonly status: number

  constructor(code: RegistryErrorCode, status: number, message: string) {
    super(message)
    this.code = code
    this.status = status
  }
}

export function errorBody(error: RegistryError): string {
  return JSON.stringify({ errors: [{ code: error.code, message: error.message }] })
}
