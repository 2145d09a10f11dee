/** The distribution specification's error codes that Kiln answers with. */
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
  | 'RANGE_INVALID'
  | 'SIZE_INVALID'
  | 'TAG_INVALID'
  | 'TOOMANYREQUESTS'
  | 'UNAUTHORIZED'
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
