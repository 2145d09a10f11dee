const state =
  'instances are replaced, never patched, and what they wrote goes with them. ' +
  'Keep state outside: a database or an object store, its address in config, its password in secrets'
const hardened =
  'an instance has no rights on its host: no capabilities, nothing shared with it, nothing of it writable'
const network =
  'nothing of an instance is published on its host: the edge reaches it at port, and it reaches others by itself'
const artifact =
  'it is part of the artifact, which is the same in every environment: change the template or the source'

/** Keys that other tools have and Kiln refuses on purpose: why, and what to do instead. */
const reasons: Readonly<Record<string, string>> = {
  ...alike(state, [
    'volumes',
    'volume',
    'mounts',
    'mount',
    'binds',
    'tmpfs',
    'storage',
    'disks',
    'disk',
    'persistence',
    'persistentVolume',
    'volumeMounts',
    'volumeClaimTemplates',
    'hostPath',
    'data',
  ]),
  ...alike(hardened, [
    'privileged',
    'capabilities',
    'capAdd',
    'cap_add',
    'devices',
    'securityContext',
    'security_opt',
    'sysctls',
    'ipc',
    'pid',
    'hostPID',
    'hostIPC',
    'userns_mode',
    'gpus',
  ]),
  ...alike(network, [
    'ports',
    'expose',
    'publish',
    'hostNetwork',
    'network_mode',
    'networkMode',
    'network',
    'networks',
    'hostPort',
    'extra_hosts',
    'dns',
    'links',
  ]),
  ...alike(artifact, ['image', 'command', 'entrypoint', 'args', 'user', 'build', 'init']),
  ...alike('write config for what may be public, and secrets for what may not', [
    'env',
    'environment',
    'envFrom',
    'env_file',
    'variables',
  ]),
  ...alike('write instances: { min, max }', ['replicas', 'scale', 'deploy']),
  ...alike('the host replaces what ended; nothing is started again in place', [
    'restart',
    'restartPolicy',
  ]),
}

function alike(reason: string, keys: readonly string[]): Record<string, string> {
  return Object.fromEntries(keys.map((key) => [key.toLowerCase(), reason]))
}

/** Why Kiln will not have this key; undefined when it only does not know it. */
export function reasonAgainst(key: string): string | undefined {
  const word = key.toLowerCase()
  return Object.hasOwn(reasons, word) ? reasons[word] : undefined
}
