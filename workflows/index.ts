// The bundle's entry: every workflow that a worker may run.
export { buildArtifact } from './build-artifact.ts'
export { checkSecrets } from './check-secrets.ts'
export { deliverCommit } from './deliver-commit.ts'
export { environment } from './environment.ts'
export { rebuildArtifact } from './rebuild-artifact.ts'
export { revoke } from './revoke.ts'
export { scanEnvironment } from './scan-environment.ts'
export { watchRepository } from './watch-repository.ts'
